// Package config is the configuration of Minecanary: one tree of structs, from which the loader, the check, the shipped
// file, the JSON Schema and the reference page are made.
//
// Its law: nothing is guessed and nothing is swallowed. A key that is not known, a value of the wrong kind or out of its
// range, and values that do not go together are errors, all of them reported at once, each with its file and line.
package config

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Config is the whole configuration. Start from Default or Load. Tags: yaml is the key, doc the sentence for people, enum
// the allowed words, min and max the range (of a text, max is its length in bytes), item what a text stands for (path,
// glob, listen, address, addrport, hostport, url, ascii), secret hides the value in Show. The ranges of prober are within those of the prober's own
// configuration; agent and contact together fit its name of 128 bytes.
type Config struct {
	Input   Input   `yaml:"input" doc:"Where records come from: files here, or topics (kafka.topics)."`
	Network Network `yaml:"network" doc:"The network that is watched."`
	Slice   Slice   `yaml:"slice" doc:"How records of whole connections are cut."`
	Suspect Suspect `yaml:"suspect" doc:"The table of suspects: one aggregate for each client and server endpoint. Its times are event time."`
	Report  Report  `yaml:"report" doc:"When a hit is reported."`
	Score   Score   `yaml:"score" doc:"Who accuses."`
	Lists   Lists   `yaml:"lists" doc:"Files of addresses, networks, endpoints and names, one a line."`
	Prober  Prober  `yaml:"prober" doc:"Asking suspected servers whether they are mining pools. The probed see these connections."`
	Hits    Hits    `yaml:"hits" doc:"Where hits go."`
	Feed    Feed    `yaml:"feed" doc:"The list of proven pools for the sensors."`
	State   State   `yaml:"state" doc:"What survives a restart."`
	HTTP    HTTP    `yaml:"http" doc:"Metrics and health."`
	Log     Log     `yaml:"log" doc:"Messages on standard error."`

	Watch     Watch     `yaml:"watch" doc:"Telling somebody when a wallet on a list is mined for (docs/sightings.md). Wallets are seen in clear text alone: in mining.log, and in alerts of Minecanary's Suricata rules."`
	Catalogue Catalogue `yaml:"catalogue" doc:"The catalogue of known pools: the shipped one and your own, which addresses the names of pools have, and what they answer."`
	API       API       `yaml:"api" doc:"Questions to the catalogue over HTTP, and pages for people."`

	Kafka         Kafka         `yaml:"kafka" doc:"Kafka: records from topics, hits, pools and probes to topics. Records from topics need redis."`
	Redis         Redis         `yaml:"redis" doc:"Redis 6.2 or later, or Valkey, with maxmemory-policy noeviction: the state that several processes share."`
	Elasticsearch Elasticsearch `yaml:"elasticsearch" doc:"Elasticsearch 8: data streams for hits, probes and pools (minecanary setup elasticsearch)."`
	Kibana        Kibana        `yaml:"kibana" doc:"Kibana 8: data views and dashboards (minecanary setup kibana)."`

	// origins tells where a value was set, by path; nil for a configuration that was not loaded.
	origins map[string]origin
}

// Input says where records come from.
type Input struct {
	Files         []string `yaml:"files" item:"glob" doc:"Files to follow; * and ? match within one folder."`
	Format        string   `yaml:"format" enum:"auto,zeek-json,zeek-tsv,eve,nfdump,goflow2" doc:"How lines are written; auto finds out from the first line it knows."`
	MeterSIDs     []int    `yaml:"meter_sids" min:"1" max:"4294967295" doc:"Numbers of the Suricata rules whose alerts tell how far a running flow is (docs/suricata.md); empty: those of Minecanary's rules."`
	Redis         string   `yaml:"redis" item:"hostport" doc:"Redis that Suricata writes EVE to (eve-log, filetype redis), host:port; instead of files."`
	RedisKey      string   `yaml:"redis_key" item:"ascii" max:"255" doc:"The list or stream there. Of a list, what was read and is safe is cut off."`
	RedisMode     string   `yaml:"redis_mode" enum:"lpush,rpush,xadd" doc:"How Suricata writes (redis.mode there): list or lpush, rpush, stream or xadd."`
	RedisUser     string   `yaml:"redis_user" item:"ascii" max:"255" doc:"ACL user; empty: the default user."`
	RedisPassword string   `yaml:"redis_password" item:"ascii" max:"255" secret:"true" doc:"Its password. Better set by the environment."`
	RedisDB       int      `yaml:"redis_db" min:"0" max:"1023" doc:"Number of the database."`
	RedisTLS      bool     `yaml:"redis_tls" doc:"Encrypt connections, and check the server's certificate."`
	RedisCA       string   `yaml:"redis_ca" item:"path" doc:"PEM file of the authorities; empty: the system's."`
	DeadLetter    string   `yaml:"dead_letter" item:"path" doc:"File for lines that could not be read, with the reason; empty keeps none."`
}

// Network says which network is watched.
type Network struct {
	Local     []netip.Prefix `yaml:"local" doc:"Its networks. They decide who is the client, instead of the sensor's flags, never enter the feed, and are not probed unless prober.allow says so."`
	Resolvers []netip.Prefix `yaml:"resolvers" doc:"Addresses of DNS resolvers, which ask on behalf of others: a pool's address that one of them was told counts for every client. Without it an answer counts for who asked."`
	Probers   []netip.Prefix `yaml:"probers" doc:"Addresses of probers as the sensors see them: behind address translation or a proxy, or on other machines. Their connections are left out, those from prober.source and this process's own are so anyway."`
}

// Slice says how whole connections are cut.
type Slice struct {
	Virtual    time.Duration `yaml:"virtual" min:"1s" max:"1h" doc:"Length of the virtual slices of a whole connection, as an exporter's active timeout would have made them."`
	Cumulative bool          `yaml:"cumulative" doc:"Read records of running connections that repeat what earlier ones said (Zeek conn_long, the Suricata meter rule), each counter once. false leaves them out; where no sensor writes any it saves Redis work for connections of a minute and more."`
}

// Suspect bounds the suspect state.
type Suspect struct {
	Inactive time.Duration `yaml:"inactive" min:"1s" max:"24h" doc:"A gap of this length, from the end of a slice to the start of the next, ends a suspect."`
	Active   time.Duration `yaml:"active" min:"1m" max:"168h" doc:"How far back the score of a suspect looks. Not shorter than suspect.inactive."`
	Max      int           `yaml:"max" min:"1000" max:"100000000" doc:"Suspects in the state; beyond it the least suspicious are dropped and counted."`
	Keep     time.Duration `yaml:"keep" min:"1m" max:"720h" doc:"How long a silent suspect is kept if it reached the threshold, or talked to a confirmed or blocked endpoint: a later verdict is told of it. Not shorter than suspect.active."`
}

// Report says when a hit is reported.
type Report struct {
	Window    time.Duration `yaml:"window" min:"1m" max:"24h" doc:"Hits of one client and server within a window, counted from the epoch, are one hit: confirmed and known ones are sent at first sight and once more with the count, suspected ones when the window has ended."`
	Lateness  time.Duration `yaml:"lateness" min:"0s" max:"24h" doc:"How long after the newest record older ones are waited for, before a window is decided."`
	Suspected bool          `yaml:"suspected" doc:"Report also what only the score accuses, when a window has ended: up to window and lateness after the records."`
}

// Score names the scorer.
type Score struct {
	Scorer    string  `yaml:"scorer" enum:"canary,nemea" doc:"The scorer: canary is Minecanary's own, nemea the formula of CESNET's miner_detector."`
	Threshold float64 `yaml:"threshold" min:"0" max:"1000" doc:"Points from which on a suspect is asked about; 0 is the scorer's own (nemea: 7, at most 10). Points of two scorers do not compare."`
}

// Lists names list files.
type Lists struct {
	Allow   []string `yaml:"allow" item:"path" doc:"Files of what is never suspected, probed or published."`
	Block   []string `yaml:"block" item:"path" doc:"Files of known pools: whoever talks to them is reported without a probe."`
	Tor     []string `yaml:"tor" item:"path" doc:"Files of Tor relays, address,from,to or Onionoo's details documents: hits say whether client or server was one at the time (docs/sightings.md)."`
	Wallets []string `yaml:"wallets" item:"path" doc:"Files of labels of wallets, such as clusters: hits with such a login say so (docs/sightings.md)."`
}

// Prober bounds what is asked of suspected servers.
type Prober struct {
	Mode            string         `yaml:"mode" enum:"auto,off" doc:"auto asks the servers of suspects, off asks nobody. auto needs prober.contact."`
	Contact         string         `yaml:"contact" item:"ascii" max:"72" doc:"Mail address or page that the probed find you by; it is part of the name that the prober gives."`
	Allow           []netip.Prefix `yaml:"allow" doc:"Networks that may be probed although they are not public; lifts the address rule alone."`
	Deny            []string       `yaml:"deny" item:"path" doc:"Files of addresses, networks and endpoints that are never probed, such as those of people who asked to be left alone (docs/lists.md). Changes hold within 10 seconds."`
	Hold            []string       `yaml:"hold" item:"path" doc:"Files as prober.deny, of what is not probed for now: expires= says until when."`
	DenyPorts       []uint16       `yaml:"deny_ports" min:"1" max:"65535" doc:"Ports that are never probed, added to the built-in list."`
	Source          []string       `yaml:"source" item:"address" doc:"Addresses of this machine that probes come from, at most one IPv4 and one IPv6. With one alone, servers of the other family are not probed. Whatever else comes from them is not looked at."`
	SOCKS5          string         `yaml:"socks5" item:"addrport" doc:"SOCKS5 proxy that probes go through, address:port; empty uses none. network.probers tells which address it shows."`
	SOCKS5User      string         `yaml:"socks5_user" item:"ascii" max:"255" doc:"User to log in to it as; empty does not log in."`
	SOCKS5Password  string         `yaml:"socks5_password" item:"ascii" max:"255" secret:"true" doc:"Its password. Better set by the environment."`
	Agent           string         `yaml:"agent" item:"ascii" max:"48" doc:"What the prober calls itself; empty is the built-in name."`
	JARM            bool           `yaml:"jarm" doc:"Take the JARM fingerprint of confirmed pools and nodes that speak TLS: ten connections more, if they are within the twelve that a server sees an hour."`
	ConnectTimeout  time.Duration  `yaml:"connect_timeout" min:"100ms" max:"30s" doc:"For one connection to be made."`
	AnswerTimeout   time.Duration  `yaml:"answer_timeout" min:"100ms" max:"30s" doc:"For the answer to one dialect."`
	EndpointTimeout time.Duration  `yaml:"endpoint_timeout" min:"1s" max:"45s" doc:"For all dialects on one endpoint. Not shorter than the connect and the answer timeout together."`
	Concurrency     int            `yaml:"concurrency" min:"1" max:"256" doc:"Endpoints asked at the same time."`
	PerClientHour   int            `yaml:"per_client_hour" min:"1" max:"10000" doc:"Endpoints asked because of one client, an hour."`
	PerNetworkHour  int            `yaml:"per_network_hour" min:"1" max:"10000" doc:"Endpoints asked in one server network (/24, IPv6 /48), an hour."`
	PerASHour       int            `yaml:"per_as_hour" min:"1" max:"10000" doc:"Endpoints asked in one autonomous system, an hour; needs prober.as_database."`
	ASDatabase      string         `yaml:"as_database" item:"path" doc:"Database of autonomous systems in MaxMind's format (.mmdb), such as GeoLite2-ASN, DB-IP ASN Lite or IPinfo Lite; empty uses none. A new version holds within 10 seconds."`
	PerSecond       float64        `yaml:"per_second" min:"0.01" max:"100" doc:"Endpoints asked in all because of clients, a second."`
	Burst           int            `yaml:"burst" min:"1" max:"1000" doc:"How many may be asked at once after a quiet time."`
	CataloguePerSec float64        `yaml:"catalogue_per_second" min:"0.01" max:"100" doc:"Endpoints of the catalogue asked by its schedule, a second. They are charged to no client, and per_network_hour and per_as_hour hold for them separately."`
	CatalogueBurst  int            `yaml:"catalogue_burst" min:"1" max:"1000" doc:"How many of them may be asked at once after a quiet time."`
	Expiry          time.Duration  `yaml:"expiry" min:"10m" max:"720h" doc:"How long a verdict holds."`
	Audit           string         `yaml:"audit" item:"path" doc:"File with a record of every probe; empty is audit.ndjson in state.dir."`
}

// Hits says where hits go.
type Hits struct {
	File string `yaml:"file" item:"path" doc:"NDJSON file that hits are appended to; empty writes none."`
}

// Feed says where proven pools are published.
type Feed struct {
	Dir          string         `yaml:"dir" item:"path" doc:"Folder for the files of the feed (docs/feeds.md), intel.dat (Zeek's Intel framework) and pools.dat (Minecanary's pools.zeek) among them; empty publishes nothing."`
	RewriteEvery time.Duration  `yaml:"rewrite_every" min:"1s" max:"5m" doc:"The heartbeat: sensors drop what is not rewritten within Intel::item_expiration (10 minutes)."`
	MaxAge       time.Duration  `yaml:"max_age" min:"1m" max:"720h" doc:"Greatest age of the proof behind an entry."`
	Allow        []netip.Prefix `yaml:"allow" doc:"Networks that may be published although they are not public; lifts the address rule alone."`
	Formats      []string       `yaml:"formats" enum:"zeek-intel,zeek-intel-removal,zeek-pools,zeek-names,suricata-rules,suricata-dataset,suricata-dataset-json,suricata-iprep,addresses,endpoints,domains,csv,json,stix,misp,rpz" doc:"Which forms are written (docs/feeds.md); empty: all but zeek-intel-removal, whose removed lines a sensor without frameworks/intel/removal takes for indicators."`
	MaxNew       int            `yaml:"max_new" min:"0" max:"100000" doc:"Endpoints that may be new within 24 hours; beyond it all new ones wait for minecanary feed approve. 0: any number."`
	MaxChange    int            `yaml:"max_change" min:"0" max:"100" doc:"Percent of the feed that may be new at once, if it is 20 endpoints or more; beyond it they wait likewise. 0: any."`
	MaxHosts     int            `yaml:"max_hosts" min:"0" max:"1000000" doc:"Inside hosts that sent data to the address of an endpoint in the last 24 to 48 hours, as far as this process saw; a new one with more waits likewise. 0: any number."`
	SIDBase      int            `yaml:"sid_base" min:"1000000" max:"4000000000" doc:"First number of the Suricata rules of endpoints; the 1,000,000 from there on are used."`
}

// State says where state is kept.
type State struct {
	Dir           string        `yaml:"dir" item:"path" doc:"Folder for the state; one process at a time."`
	SnapshotEvery time.Duration `yaml:"snapshot_every" min:"1s" max:"10m" doc:"How often the state is written; after a crash the records since are read again."`
}

// HTTP says where metrics are served.
type HTTP struct {
	Listen string `yaml:"listen" item:"listen" doc:"Address and port; empty serves nothing. There is no login: keep it on the loopback interface or behind a proxy."`
}

// Catalogue says what is known of pools beforehand, and how it is kept up to date.
type Catalogue struct {
	Files        []string      `yaml:"files" item:"path" doc:"Catalogue files or folders of your own (docs/catalog.md), added to the shipped catalogue; a pool of the same id replaces the shipped one. Changes hold within 10 seconds."`
	Report       bool          `yaml:"report" doc:"Report clients of known pools as known, without a proof. An address counts once the history says that the pool's name had it, and on ports 80, 443, 8080 and 8443 only what has proved to be a pool."`
	History      string        `yaml:"history" item:"path" doc:"File with the history of names and endpoints; empty is history.db in state.dir."`
	Retention    time.Duration `yaml:"retention" min:"24h" max:"87600h" doc:"How long the history goes back."`
	Backup       string        `yaml:"backup" item:"path" doc:"File that a checked copy of the history is written to while the service runs, once a day; empty writes none. To restore, stop the service and put it in the place of the history."`
	Resolve      bool          `yaml:"resolve" doc:"Look the names of the catalogue up, on a schedule. To others this machine then looks like one with miners: make an exception for it where DNS is watched."`
	ResolveEvery time.Duration `yaml:"resolve_every" min:"5m" max:"24h" doc:"How often each name."`
	DNS          []string      `yaml:"dns" item:"ascii" max:"300" doc:"Servers that are asked: 192.0.2.53, tcp://192.0.2.53, tls://192.0.2.53#dns.example.net; empty: the system's."`
	PerZone      float64       `yaml:"per_zone" min:"0.01" max:"1000" doc:"Queries a second about the names of one registered domain."`
	Pages        string        `yaml:"pages" item:"path" doc:"Folder for copies (WARC) of the web page on a pool's address, one when it is first proved to be a pool, at most 1 MiB each; empty takes none. Needs prober.mode auto."`
	Marks        []string      `yaml:"marks" item:"path" doc:"Files of networks and names that many share (CDNs, resolvers), added to the built-in ones: their addresses stand for no pool."`
	Probe        bool          `yaml:"probe" doc:"Ask the endpoints of the catalogue on a schedule, within prober.catalogue_per_second. Needs prober.contact. These are other people's servers."`
	ProbeEvery   time.Duration `yaml:"probe_every" min:"30m" max:"168h" doc:"How often each endpoint."`
}

// Watch says who is told of wallets.
type Watch struct {
	List          string   `yaml:"list" item:"path" doc:"File with the wallets, one a line; empty watches none. Changes hold within 10 seconds."`
	Webhook       string   `yaml:"webhook" item:"url" secret:"true" doc:"Address that each event is posted to as JSON."`
	WebhookSecret string   `yaml:"webhook_secret" item:"ascii" max:"255" secret:"true" doc:"Key that posts are signed with, 16 bytes or more. Better set by the environment."`
	MailServer    string   `yaml:"mail_server" item:"hostport" doc:"Mail server, host:port; empty sends no mail."`
	MailSecurity  string   `yaml:"mail_security" enum:"starttls,tls,none" doc:"How the connection to it is protected; none is for a server on this machine."`
	MailUser      string   `yaml:"mail_user" item:"ascii" max:"255" doc:"User to log in to it as; empty does not log in."`
	MailPassword  string   `yaml:"mail_password" item:"ascii" max:"255" secret:"true" doc:"Its password. Better set by the environment."`
	MailFrom      string   `yaml:"mail_from" item:"ascii" max:"255" doc:"Address that mails come from."`
	MailTo        []string `yaml:"mail_to" item:"ascii" max:"255" doc:"Addresses that they go to."`
	Topic         string   `yaml:"topic" item:"ascii" max:"249" doc:"Topic for the events, keyed by wallet; needs kafka.brokers. Empty writes none."`
}

// API says where questions are answered, and to whom.
type API struct {
	Listen    string   `yaml:"listen" item:"listen" doc:"Address and port of the API and the pages; empty serves neither."`
	Anonymous string   `yaml:"anonymous" enum:"viewer,none" doc:"What may be done without a login: viewer reads everything, none needs an account (minecanary user add)."`
	Hosts     []string `yaml:"hosts" item:"ascii" max:"253" doc:"Names under which it is reached, beside addresses and localhost. Requests to other names are refused: a page elsewhere that leads its name here would be behind them."`
	Cert      string   `yaml:"cert" item:"path" doc:"PEM file of the certificate; empty: plain HTTP, which only the loopback interface should see."`
	Key       string   `yaml:"key" item:"path" doc:"PEM file of its key."`
}

// Log says what is logged.
type Log struct {
	Level  string `yaml:"level" enum:"debug,info,warn,error" doc:"The least urgent level that is written."`
	Format string `yaml:"format" enum:"text,json" doc:"How messages are written."`
}

// Kafka says how Kafka is reached, what is read there, and what is written.
type Kafka struct {
	Brokers            []string      `yaml:"brokers" item:"hostport" doc:"Brokers to begin with, host:port; empty uses no Kafka."`
	ClientID           string        `yaml:"client_id" item:"ascii" max:"64" doc:"Name that the brokers see."`
	TLS                bool          `yaml:"tls" doc:"Encrypt connections, and check the brokers' certificates."`
	CA                 string        `yaml:"ca" item:"path" doc:"PEM file of the authorities that the certificates are checked against; empty: the system's."`
	Cert               string        `yaml:"cert" item:"path" doc:"PEM file of this client's certificate."`
	Key                string        `yaml:"key" item:"path" doc:"PEM file of its key."`
	ServerName         string        `yaml:"server_name" doc:"Name that the brokers' certificates must bear; empty: that of each broker."`
	InsecureSkipVerify bool          `yaml:"insecure_skip_verify" doc:"Do not check certificates. Whoever is between can read and change everything."`
	SASL               string        `yaml:"sasl" enum:"none,plain,scram-sha-256,scram-sha-512" doc:"How to log in."`
	User               string        `yaml:"user" doc:"User to log in as."`
	Password           string        `yaml:"password" secret:"true" doc:"Password of the user. Better set by the environment."`
	Topics             []string      `yaml:"topics" doc:"Topics with records of Zeek, Suricata or goflow2, in whatever envelope. topic=log tells the log of a topic whose records do not (conn, conn_interim), topic=eve that it is Suricata's, topic=goflow2 that it is goflow2's."`
	Group              string        `yaml:"group" doc:"Consumer group; the processes of a group share the partitions."`
	From               string        `yaml:"from" enum:"earliest,latest" doc:"Where a partition begins that the group never read."`
	Rebuild            time.Duration `yaml:"rebuild" min:"0s" max:"8760h" doc:"How far back a partition is read again whose state Redis has lost as a whole; 0s: from its beginning."`
	HitsTopic          string        `yaml:"hits_topic" doc:"Topic for hits, keyed by event.id; empty writes none."`
	PoolsTopic         string        `yaml:"pools_topic" doc:"Compacted topic for proven pools, keyed by endpoint; empty writes none."`
	ProbesTopic        string        `yaml:"probes_topic" doc:"Topic for answers of the prober; empty writes none."`
	DeadTopic          string        `yaml:"dead_topic" doc:"Topic for what could not be read, and documents that Elasticsearch refused, with the reason; empty writes none."`
	EnrichedTopic      string        `yaml:"enriched_topic" doc:"Topic for the records that touch confirmed and known pools, with what is known of them; empty writes none."`
}

// Redis says how Redis is reached.
type Redis struct {
	Mode               string   `yaml:"mode" enum:"single,sentinel,cluster" doc:"How Redis is run."`
	Addresses          []string `yaml:"addresses" item:"hostport" doc:"host:port of the server, of the sentinels, or of some of the cluster's nodes; empty: the state is in memory."`
	Master             string   `yaml:"master" doc:"Name of the master that the sentinels watch."`
	User               string   `yaml:"user" doc:"ACL user; empty: the default user."`
	Password           string   `yaml:"password" secret:"true" doc:"Its password. Better set by the environment."`
	SentinelUser       string   `yaml:"sentinel_user" doc:"ACL user of the sentinels."`
	SentinelPassword   string   `yaml:"sentinel_password" secret:"true" doc:"Its password."`
	DB                 int      `yaml:"db" min:"0" max:"1023" doc:"Number of the database; 0 in a cluster."`
	Prefix             string   `yaml:"prefix" item:"ascii" max:"32" doc:"Begins every key; deployments that share a Redis need different ones."`
	TLS                bool     `yaml:"tls" doc:"Encrypt connections, and check the servers' certificates."`
	CA                 string   `yaml:"ca" item:"path" doc:"PEM file of the authorities; empty: the system's."`
	Cert               string   `yaml:"cert" item:"path" doc:"PEM file of this client's certificate."`
	Key                string   `yaml:"key" item:"path" doc:"PEM file of its key."`
	InsecureSkipVerify bool     `yaml:"insecure_skip_verify" doc:"Do not check certificates."`
}

// Elasticsearch says how Elasticsearch is reached.
type Elasticsearch struct {
	URLs               []string      `yaml:"urls" item:"url" doc:"Nodes, such as https://es1.example.net:9200; empty uses no Elasticsearch."`
	APIKey             string        `yaml:"api_key" secret:"true" doc:"API key, encoded, as Kibana shows it."`
	User               string        `yaml:"user" doc:"User, instead of an API key."`
	Password           string        `yaml:"password" secret:"true" doc:"Password of the user."`
	CA                 string        `yaml:"ca" item:"path" doc:"PEM file of the authorities; empty: the system's."`
	InsecureSkipVerify bool          `yaml:"insecure_skip_verify" doc:"Do not check certificates."`
	Retention          time.Duration `yaml:"retention" min:"24h" max:"87600h" doc:"How long documents are kept (data stream lifecycle); set by minecanary setup elasticsearch."`
}

// Kibana says how Kibana is reached; only minecanary setup kibana does.
type Kibana struct {
	URL                string `yaml:"url" item:"url" doc:"Address, such as https://kibana.example.net:5601, with a space's path if there is one."`
	APIKey             string `yaml:"api_key" secret:"true" doc:"API key, encoded."`
	User               string `yaml:"user" doc:"User, instead of an API key."`
	Password           string `yaml:"password" secret:"true" doc:"Password of the user."`
	CA                 string `yaml:"ca" item:"path" doc:"PEM file of the authorities; empty: the system's."`
	InsecureSkipVerify bool   `yaml:"insecure_skip_verify" doc:"Do not check certificates."`
}

// Default gives the configuration without any file.
func Default() *Config {
	return &Config{
		Input:   Input{Format: "auto", RedisKey: "suricata", RedisMode: "lpush"},
		Slice:   Slice{Virtual: time.Minute, Cumulative: true},
		Suspect: Suspect{Inactive: 15 * time.Minute, Active: time.Hour, Max: 1_000_000, Keep: 24 * time.Hour},
		Report:  Report{Window: time.Hour, Lateness: 15 * time.Minute},
		Score:   Score{Scorer: "canary"},
		Prober: Prober{
			Mode:            "off",
			ConnectTimeout:  5 * time.Second,
			AnswerTimeout:   12 * time.Second,
			EndpointTimeout: 45 * time.Second,
			Concurrency:     16,
			PerClientHour:   5,
			PerNetworkHour:  8,
			PerASHour:       64,
			PerSecond:       1,
			Burst:           10,
			CataloguePerSec: 2,
			CatalogueBurst:  10,
			Expiry:          24 * time.Hour,
		},
		Hits:  Hits{File: "hits.ndjson"},
		Feed:  Feed{RewriteEvery: time.Minute, MaxAge: 24 * time.Hour, MaxNew: 500, MaxChange: 20, MaxHosts: 100, SIDBase: 9_100_000},
		Watch: Watch{MailSecurity: "starttls"},
		State: State{Dir: "state", SnapshotEvery: 10 * time.Second},
		HTTP:  HTTP{Listen: "127.0.0.1:9417"},
		Log:   Log{Level: "info", Format: "text"},
		Catalogue: Catalogue{
			Report: true, Retention: 2 * 365 * 24 * time.Hour, ResolveEvery: 30 * time.Minute, PerZone: 1, ProbeEvery: 3 * time.Hour,
		},
		API: API{Listen: "127.0.0.1:9480", Anonymous: "viewer"},
		Kafka: Kafka{
			ClientID: "minecanary", SASL: "none", Group: "minecanary", From: "earliest", Rebuild: 7 * 24 * time.Hour,
			HitsTopic: "minecanary.hits", PoolsTopic: "minecanary.pools", ProbesTopic: "minecanary.probes", DeadTopic: "minecanary.dead",
		},
		Redis:         Redis{Mode: "single", Prefix: "mc"},
		Elasticsearch: Elasticsearch{Retention: 90 * 24 * time.Hour},
	}
}

// AuditFile is where the record of every probe goes: prober.audit, or its place in state.dir.
func (c *Config) AuditFile() string {
	return cmp.Or(c.Prober.Audit, filepath.Join(c.State.Dir, "audit.ndjson"))
}

// HistoryFile is where the history of names and endpoints is: catalogue.history, or its place in state.dir.
func (c *Config) HistoryFile() string {
	return cmp.Or(c.Catalogue.History, filepath.Join(c.State.Dir, "history.db"))
}

// Equal tells whether two configurations have the same values, wherever they were set.
func (c *Config) Equal(o *Config) bool {
	a, b := *c, *o
	a.origins, b.origins = nil, nil
	return reflect.DeepEqual(a, b)
}

// Validate checks ranges, forms, and what must go together. The error is Problems: all that is wrong, each at the place
// where the value was set. Load has done it already; it is for a configuration that was changed since.
func (c *Config) Validate() error {
	if problems := c.problems(nil); len(problems) > 0 {
		return problems
	}
	return nil
}

// problems leaves out what concerns a path in bad, as its value could not be read.
func (c *Config) problems(bad map[string]bool) Problems {
	var out Problems
	for _, f := range fieldsOf(reflect.ValueOf(c).Elem()) {
		for _, v := range f.items() {
			if reason := f.check(v.value); reason != "" {
				out = append(out, c.origins[f.path].problem(f.path+v.suffix, reason, c.origins[f.path+v.suffix]))
			}
		}
	}
	// rule reports at the first of the paths that was set; paths[0] is the one to blame.
	rule := func(ok bool, reason string, paths ...string) {
		if ok || slices.ContainsFunc(paths, func(p string) bool { return bad[p] }) {
			return
		}
		var at origin
		for _, p := range paths {
			if o, set := c.origins[p]; set {
				at = o
				break
			}
		}
		out = append(out, at.problem(paths[0], reason, origin{}))
	}
	rule(c.Suspect.Active >= c.Suspect.Inactive, "must not be shorter than suspect.inactive, "+formatDuration(c.Suspect.Inactive),
		"suspect.active", "suspect.inactive")
	rule(c.Suspect.Keep >= c.Suspect.Active, "must not be shorter than suspect.active, "+formatDuration(c.Suspect.Active),
		"suspect.keep", "suspect.active")
	rule(c.Score.Scorer != "nemea" || c.Score.Threshold <= maxNemea,
		fmt.Sprintf("must not be greater than %d, the most the scorer nemea gives", maxNemea), "score.threshold", "score.scorer")
	rule(!c.Catalogue.Probe || c.Prober.Contact != "",
		"must not be empty with catalogue.probe: the people who are probed must be able to find you", "prober.contact", "catalogue.probe")
	rule((c.API.Cert == "") == (c.API.Key == ""), "api.cert and api.key go together", "api.cert", "api.key")
	rule(c.Prober.Mode != "auto" || c.Prober.Contact != "",
		"must not be empty with prober.mode auto: the people who are probed must be able to find you", "prober.contact", "prober.mode")
	rule(c.Prober.EndpointTimeout >= c.Prober.ConnectTimeout+c.Prober.AnswerTimeout,
		"must not be shorter than prober.connect_timeout and prober.answer_timeout together, "+
			formatDuration(c.Prober.ConnectTimeout+c.Prober.AnswerTimeout),
		"prober.endpoint_timeout", "prober.answer_timeout", "prober.connect_timeout")

	rule((c.Prober.SOCKS5User == "") == (c.Prober.SOCKS5Password == ""),
		"must come with prober.socks5_password, and it with prober.socks5_user", "prober.socks5_user", "prober.socks5_password")
	rule(c.Prober.SOCKS5 != "" || c.Prober.SOCKS5User == "", "must name a proxy to log in to", "prober.socks5", "prober.socks5_user")
	families := map[bool]int{}
	for _, s := range c.Prober.Source {
		families[strings.Contains(s, ":")]++
	}
	rule(families[true] <= 1 && families[false] <= 1, "must have at most one IPv4 and one IPv6 address", "prober.source")
	rule(c.Prober.SOCKS5 == "" || len(c.Prober.Source) == 0 || families[strings.HasPrefix(c.Prober.SOCKS5, "[")] > 0,
		"must have an address of the proxy's family", "prober.source", "prober.socks5")

	// No two writers of one file.
	writers := map[string]string{}
	for _, w := range []struct{ path, file string }{
		{"hits.file", c.Hits.File}, {"input.dead_letter", c.Input.DeadLetter}, {"prober.audit", c.AuditFile()},
	} {
		if w.file == "" {
			continue
		}
		file := filepath.Clean(w.file)
		other, taken := writers[file]
		rule(!taken, "must not be the file of "+other, w.path, other)
		writers[file] = w.path
	}
	rule(c.State.Dir != "", "must not be empty", "state.dir")
	w := c.Watch
	rule(w.List == "" || w.Webhook+w.MailServer+w.Topic != "", "must name somebody to tell: watch.webhook, watch.mail_server or watch.topic", "watch.list")
	rule(w.WebhookSecret == "" || len(w.WebhookSecret) >= 16, "must have 16 bytes or more", "watch.webhook_secret")
	rule((w.MailServer == "") == (w.MailFrom == "" && len(w.MailTo) == 0), "must come with watch.mail_from and watch.mail_to, and they with it", "watch.mail_server", "watch.mail_from", "watch.mail_to")
	rule(w.MailServer == "" || w.MailFrom != "" && len(w.MailTo) > 0, "must come with watch.mail_from and watch.mail_to", "watch.mail_server")
	rule((w.MailUser == "") == (w.MailPassword == ""), "must come with watch.mail_password, and it with watch.mail_user", "watch.mail_user", "watch.mail_password")
	rule(w.Topic == "" || len(c.Kafka.Brokers) > 0, "must be empty without kafka.brokers", "watch.topic", "kafka.brokers")
	rule(c.Catalogue.Pages == "" || c.Prober.Mode == "auto", "must be empty unless prober.mode is auto: pages are taken when a probe proves a pool", "catalogue.pages", "prober.mode")

	// What makes several processes one service goes together.
	k, r := &c.Kafka, &c.Redis
	topics, shared := len(k.Topics) > 0, len(r.Addresses) > 0
	rule(!topics || len(k.Brokers) > 0, "must name brokers to read kafka.topics from", "kafka.brokers", "kafka.topics")
	rule(!topics || shared, "must name a server: what is read from Kafka is kept in Redis, so that processes share it and none loses it", "redis.addresses", "kafka.topics")
	rule(!shared || topics, "must name topics: state in Redis is for records from Kafka", "kafka.topics", "redis.addresses")
	rule(!topics || len(c.Input.Files) == 0, "must be empty with kafka.topics: a process reads either", "input.files", "kafka.topics")
	rule(c.Input.Redis == "" || !topics && len(c.Input.Files) == 0, "must be empty with input.files or kafka.topics: a process reads one of them", "input.redis", "input.files", "kafka.topics")
	rule(c.Input.Redis == "" || c.Input.RedisKey != "", "must not be empty with input.redis", "input.redis_key", "input.redis")
	rule(c.Input.RedisTLS || c.Input.RedisCA == "", "must be true with input.redis_ca", "input.redis_tls", "input.redis_ca")
	rule(!topics || k.Group != "", "must not be empty with kafka.topics", "kafka.group", "kafka.topics")
	rule(!topics || k.DeadTopic != "" || c.Input.DeadLetter != "", "must not be empty with kafka.topics, unless input.dead_letter is set: bad records have to go somewhere", "kafka.dead_topic", "kafka.topics")
	rule((k.SASL == "none") == (k.User == "" && k.Password == ""), "must go with user and password, and they with it", "kafka.sasl", "kafka.user", "kafka.password")
	rule(k.SASL == "none" || k.User != "" && k.Password != "", "must come with kafka.user and kafka.password", "kafka.sasl")
	rule((k.Cert == "") == (k.Key == ""), "must come with its other half: kafka.cert and kafka.key", "kafka.cert", "kafka.key")
	rule(k.TLS || k.CA == "" && k.Cert == "" && k.ServerName == "" && !k.InsecureSkipVerify, "must be true: other keys say how to check certificates", "kafka.tls", "kafka.ca", "kafka.cert", "kafka.server_name", "kafka.insecure_skip_verify")
	rule(r.Mode != "sentinel" || !shared || r.Master != "", "must name the master that the sentinels watch", "redis.master", "redis.mode")
	rule(r.Mode != "single" || len(r.Addresses) < 2, "must be one address, or redis.mode sentinel or cluster", "redis.addresses", "redis.mode")
	rule(r.Mode != "cluster" || r.DB == 0, "must be 0 in a cluster", "redis.db", "redis.mode")
	rule((r.Cert == "") == (r.Key == ""), "must come with its other half: redis.cert and redis.key", "redis.cert", "redis.key")
	rule(r.TLS || r.CA == "" && r.Cert == "" && !r.InsecureSkipVerify, "must be true: other keys say how to check certificates", "redis.tls", "redis.ca", "redis.cert", "redis.insecure_skip_verify")
	rule(!strings.ContainsAny(r.Prefix, "{}*?[]\\") && r.Prefix != "", "must be some characters, but none of { } * ? [ ] \\", "redis.prefix")
	rule(k.EnrichedTopic == "" || topics, "must be empty without kafka.topics: records of files are not annotated", "kafka.enriched_topic", "kafka.topics")
	e := &c.Elasticsearch
	rule(len(e.URLs) == 0 || c.Input.DeadLetter != "" || len(k.Brokers) > 0 && k.DeadTopic != "",
		"must come with kafka.dead_topic or input.dead_letter: documents that it refuses have to go somewhere", "elasticsearch.urls", "input.dead_letter", "kafka.dead_topic")
	rule(e.APIKey == "" || e.User == "", "must be empty with elasticsearch.api_key", "elasticsearch.user", "elasticsearch.api_key")
	rule((e.User == "") == (e.Password == ""), "must come with elasticsearch.password, and it with elasticsearch.user", "elasticsearch.user", "elasticsearch.password")
	rule((c.Kibana.User == "") == (c.Kibana.Password == ""), "must come with kibana.password, and it with kibana.user", "kibana.user", "kibana.password")
	rule(c.Kibana.APIKey == "" || c.Kibana.User == "", "must be empty with kibana.api_key", "kibana.user", "kibana.api_key")
	outputs := map[string]string{}
	for _, o := range []struct{ path, topic string }{
		{"kafka.hits_topic", k.HitsTopic},
		{"kafka.pools_topic", k.PoolsTopic},
		{"kafka.probes_topic", k.ProbesTopic},
		{"kafka.dead_topic", k.DeadTopic},
		{"kafka.enriched_topic", k.EnrichedTopic},
		{"watch.topic", c.Watch.Topic},
	} {
		if o.topic == "" {
			continue
		}
		rule(outputs[o.topic] == "", "must not be the topic of "+outputs[o.topic], o.path, outputs[o.topic])
		outputs[o.topic] = o.path
		read := slices.ContainsFunc(k.Topics, func(t string) bool { name, _, _ := strings.Cut(t, "="); return name == o.topic })
		rule(!read, "must not be a topic that is read", o.path, "kafka.topics")
	}
	out.sort()
	return out
}

// maxNemea is the sum of all points of the scorer nemea (2+2+1+2+3).
const maxNemea = 10

// checkListen checks address:port, the address possibly empty (all interfaces).
func checkListen(s string) string {
	if s == "" {
		return ""
	}
	const want = "must be address:port, such as 127.0.0.1:9417"
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return want
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		return want
	}
	return ""
}

// checkAddress checks an address that a machine can have.
func checkAddress(s string) string {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" || a.Is4In6() || a.IsUnspecified() || a.IsMulticast() {
		return "must be an address such as 192.0.2.1 or 2001:db8::1"
	}
	return ""
}

// checkAddrPort checks address:port; a name is none.
func checkAddrPort(s string) string {
	if s == "" {
		return ""
	}
	ap, err := netip.ParseAddrPort(s)
	if err != nil || ap.Port() == 0 || checkAddress(ap.Addr().String()) != "" {
		return "must be address:port, such as 192.0.2.1:1080, without a name"
	}
	return ""
}

// checkHostPort checks host:port.
func checkHostPort(s string) string {
	host, port, err := net.SplitHostPort(s)
	if n, bad := strconv.ParseUint(port, 10, 16); err != nil || host == "" || bad != nil || n == 0 {
		return "must be host:port, such as kafka1.example.net:9092"
	}
	return ""
}

// checkURL checks an address of a web service. What is secret has its own keys.
func checkURL(s string) string {
	const want = "must be http:// or https:// with a host"
	if s == "" {
		return ""
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return want
	}
	if u.User != nil {
		return "must not hold a user; there are keys for that"
	}
	return ""
}
