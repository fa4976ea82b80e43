package config_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/minecanary/minecanary/cmd/minecanary/config"
)

// TestHalfConfigured: whatever does not go together in the sections of the services is told in one sentence, with its key.
func TestHalfConfigured(t *testing.T) {
	const (
		brokers = "kafka.brokers=kafka1:9092"
		topics  = "kafka.topics=zeek"
		redis   = "redis.addresses=redis1:6379"
		tls     = "must be true: other keys say how to check certificates"
		kcert   = "must come with its other half: kafka.cert and kafka.key"
		rcert   = "must come with its other half: redis.cert and redis.key"
		prefix  = `must be some characters, but none of { } * ? [ ] \`
	)
	dist := brokers + " " + topics + " " + redis
	tests := []struct {
		name string
		// set are settings, key=value.
		set  string
		want []string
	}{
		{"nothing", "", nil},
		{"distributed", dist, nil},
		{"outputs alone", brokers + " elasticsearch.urls=http://es1:9200 input.files=conn.log", nil},
		{"everything", dist + " kafka.tls=true kafka.ca=ca.pem kafka.cert=c.pem kafka.key=k.pem kafka.sasl=scram-sha-512 kafka.user=u kafka.password=p redis.tls=true redis.cert=c.pem redis.key=k.pem redis.user=u redis.password=p elasticsearch.urls=https://es1:9200 elasticsearch.api_key=k kibana.url=https://kb:5601/x kibana.user=u kibana.password=p kafka.enriched_topic=e", nil},

		{"topics without brokers", topics + " " + redis, []string{"kafka.brokers: must name brokers to read kafka.topics from"}},
		{"topics without redis", brokers + " " + topics, []string{"redis.addresses: must name a server: what is read from Kafka is kept in Redis, so that processes share it and none loses it"}},
		{"redis without topics", brokers + " " + redis, []string{"kafka.topics: must name topics: state in Redis is for records from Kafka"}},
		{"topics and files", dist + " input.files=conn.log", []string{"input.files: must be empty with kafka.topics: a process reads either"}},
		{"no group", dist + " kafka.group=", []string{"kafka.group: must not be empty with kafka.topics"}},
		{"no dead letters", dist + " kafka.dead_topic=", []string{"kafka.dead_topic: must not be empty with kafka.topics, unless input.dead_letter is set: bad records have to go somewhere"}},
		{"dead letters in a file", dist + " kafka.dead_topic= input.dead_letter=bad.ndjson", nil},
		{"user without sasl", dist + " kafka.user=u kafka.password=hush", []string{"kafka.sasl: must go with user and password, and they with it"}},
		{"sasl without password", dist + " kafka.sasl=plain kafka.user=u", []string{"kafka.sasl: must come with kafka.user and kafka.password"}},
		{"sasl without user", dist + " kafka.sasl=plain kafka.password=hush", []string{"kafka.sasl: must come with kafka.user and kafka.password"}},
		{"unknown sasl", dist + " kafka.sasl=gssapi kafka.user=u kafka.password=hush", []string{`kafka.sasl: must be none, plain, scram-sha-256 or scram-sha-512, not "gssapi"`}},
		{"kafka certificate without key", dist + " kafka.tls=true kafka.cert=c.pem", []string{"kafka.cert: " + kcert}},
		{"kafka key without certificate", dist + " kafka.tls=true kafka.key=k.pem", []string{"kafka.cert: " + kcert}},
		{"kafka authorities without tls", dist + " kafka.ca=ca.pem", []string{"kafka.tls: " + tls}},
		{"kafka server name without tls", dist + " kafka.server_name=k", []string{"kafka.tls: " + tls}},
		{"kafka unchecked without tls", dist + " kafka.insecure_skip_verify=true", []string{"kafka.tls: " + tls}},
		{"broker without port", topics + " " + redis + " kafka.brokers=kafka1", []string{`kafka.brokers[0]: must be host:port, such as kafka1.example.net:9092, not "kafka1"`}},
		{"kafka from", dist + " kafka.from=middle", []string{`kafka.from: must be earliest or latest, not "middle"`}},
		{"two topics of one name", dist + " kafka.pools_topic=minecanary.hits", []string{"kafka.pools_topic: must not be the topic of kafka.hits_topic"}},
		{"a circle", dist + " kafka.enriched_topic=zeek", []string{"kafka.enriched_topic: must not be a topic that is read"}},
		{"a circle of a known log", brokers + " " + redis + " kafka.topics=minecanary.dead=conn", []string{"kafka.dead_topic: must not be a topic that is read"}},

		{"annotation without topics", brokers + " kafka.enriched_topic=e", []string{"kafka.enriched_topic: must be empty without kafka.topics: records of files are not annotated"}},

		{"several single servers", brokers + " " + topics + " redis.addresses=a:1,b:2", []string{"redis.addresses: must be one address, or redis.mode sentinel or cluster"}},
		{"cluster", brokers + " " + topics + " redis.addresses=a:1,b:2 redis.mode=cluster", nil},
		{"cluster with a database", dist + " redis.mode=cluster redis.db=1", []string{"redis.db: must be 0 in a cluster"}},
		{"sentinel without master", dist + " redis.mode=sentinel", []string{"redis.master: must name the master that the sentinels watch"}},
		{"sentinel", dist + " redis.mode=sentinel redis.master=m", nil},
		{"unknown mode", dist + " redis.mode=many", []string{`redis.mode: must be single, sentinel or cluster, not "many"`}},
		{"redis certificate without key", dist + " redis.tls=true redis.cert=c.pem", []string{"redis.cert: " + rcert}},
		{"redis authorities without tls", dist + " redis.ca=ca.pem", []string{"redis.tls: " + tls}},
		{"redis unchecked without tls", dist + " redis.insecure_skip_verify=true", []string{"redis.tls: " + tls}},
		{"no prefix", dist + " redis.prefix=", []string{"redis.prefix: " + prefix}},
		{"a prefix with a tag", dist + " redis.prefix=a{b}", []string{"redis.prefix: " + prefix}},

		{"elasticsearch with two log-ins", dist + " elasticsearch.api_key=hush elasticsearch.user=u elasticsearch.password=hush", []string{"elasticsearch.user: must be empty with elasticsearch.api_key"}},
		{"elasticsearch without password", dist + " elasticsearch.user=u", []string{"elasticsearch.user: must come with elasticsearch.password, and it with elasticsearch.user"}},
		{"elasticsearch without user", dist + " elasticsearch.password=hush", []string{"elasticsearch.user: must come with elasticsearch.password, and it with elasticsearch.user"}},
		{"elasticsearch without scheme", dist + " elasticsearch.urls=es1:9200", []string{`elasticsearch.urls[0]: must be http:// or https:// with a host, not "…"`}},
		{"kibana with two log-ins", "kibana.url=http://kb:5601 kibana.api_key=hush kibana.user=u kibana.password=hush", []string{"kibana.user: must be empty with kibana.api_key"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var settings []config.Setting
			for s := range strings.FieldsSeq(tt.set) {
				key, value, _ := strings.Cut(s, "=")
				settings = append(settings, config.Setting{Path: key, Value: value})
			}
			_, err := config.Parse("", nil, nil, settings...)
			var got []string
			if err != nil {
				got = strings.Split(fmt.Sprint(err), "\n")
			}
			for i := range got {
				got[i] = strings.TrimPrefix(got[i], ": ")
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestURLWithSecret: an address that holds a password is refused without repeating it.
func TestURLWithSecret(t *testing.T) {
	for _, key := range []string{"elasticsearch.urls", "kibana.url"} {
		for _, url := range []string{"http://canary:hush@es1:9200", "http://canary:hush@es1:92 00", "canary:hush@es1:9200"} {
			_, err := config.Parse("", nil, nil, config.Setting{Path: key, Value: url})
			if err == nil || !strings.Contains(err.Error(), key) {
				t.Errorf("%s %s: %v", key, url, err)
			} else if strings.Contains(err.Error(), "hush") {
				t.Errorf("the password is told: %v", err)
			}
		}
	}
}
