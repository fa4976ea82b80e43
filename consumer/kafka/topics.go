package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"

	"github.com/segmentio/kafka-go"
)

// TopicSpec is a topic to create.
type TopicSpec struct {
	Name string
	// Partitions is their number, at least 1.
	Partitions int
	// Replication is the number of copies; -1 means the brokers' default.
	Replication int
	// Configs are topic settings (cleanup.policy, retention.ms …).
	Configs map[string]string
}

// topicName is what brokers accept (org.apache.kafka.common.internals.Topic): at most 249 of these characters.
var topicName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)

func validTopic(name string) error {
	if !topicName.MatchString(name) || name == "." || name == ".." {
		return fmt.Errorf("kafka: %q is no valid topic name", name)
	}
	return nil
}

// EnsureTopics creates the topics that do not exist and leaves the others as they are. What may pass is retried with
// back-off until ctx ends. created are the names of those it made, sorted, also if there is an error.
func EnsureTopics(ctx context.Context, c Client, specs []TopicSpec) (created []string, err error) {
	n, err := newNetwork(c)
	if err != nil {
		return nil, err
	}
	todo := map[string]TopicSpec{}
	for _, s := range specs {
		if err := validTopic(s.Name); err != nil {
			return nil, err
		}
		if s.Partitions < 1 {
			return nil, fmt.Errorf("kafka: topic %s has %d partitions", s.Name, s.Partitions)
		}
		if s.Replication < -1 || s.Replication == 0 {
			return nil, fmt.Errorf("kafka: topic %s has a replication of %d", s.Name, s.Replication)
		}
		todo[s.Name] = s
	}
	client, end := n.kafkaClient(producerRefresh)
	defer n.conns.cut()
	defer end()
	pause := backoff{low: backoffLow, high: produceHigh}
	for len(todo) > 0 {
		made, final, err := createTopics(ctx, client, todo)
		created = append(created, made...)
		slices.Sort(created)
		if final != nil {
			return created, final
		}
		if err == nil {
			continue
		}
		if !pause.wait(ctx) {
			return created, fmt.Errorf("create topics: %w (%w)", ctx.Err(), err)
		}
	}
	return created, nil
}

// createTopics tries once and takes what is done out of todo. final is an error that no repetition mends.
func createTopics(ctx context.Context, client *kafka.Client, todo map[string]TopicSpec) (made []string, final, err error) {
	req := &kafka.CreateTopicsRequest{}
	for _, name := range slices.Sorted(maps.Keys(todo)) {
		s := todo[name]
		t := kafka.TopicConfig{Topic: s.Name, NumPartitions: s.Partitions, ReplicationFactor: s.Replication}
		for _, k := range slices.Sorted(maps.Keys(s.Configs)) {
			t.ConfigEntries = append(t.ConfigEntries, kafka.ConfigEntry{ConfigName: k, ConfigValue: s.Configs[k]})
		}
		req.Topics = append(req.Topics, t)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	res, err := client.CreateTopics(ctx, req)
	if err != nil {
		if permanent(err) || hopeless(err) {
			return nil, fmt.Errorf("create topics: %w", err), err
		}
		return nil, nil, err
	}
	var finals []error
	for name := range todo {
		e := res.Errors[name]
		var code kafka.Error
		switch {
		case e == nil:
			made = append(made, name)
			delete(todo, name)
		case errors.Is(e, kafka.TopicAlreadyExists):
			delete(todo, name)
		case errors.As(e, &code) && code.Temporary():
			err = e
		default:
			finals = append(finals, fmt.Errorf("create topic %s: %w", name, e))
		}
	}
	return made, errors.Join(finals...), err
}
