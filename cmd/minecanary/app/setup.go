package app

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/minecanary/minecanary/cmd/minecanary/config"
	"github.com/minecanary/minecanary/consumer/kafka"
	"github.com/minecanary/minecanary/docker"
	"github.com/minecanary/minecanary/enrich/elasticsearch"
)

// setupWithin is how long setup tries again while no broker answers.
const setupWithin = time.Minute

func newSetup(e env) *cobra.Command {
	c := &cobra.Command{
		Use:   "setup",
		Short: "install in Kafka, Elasticsearch and Kibana what serve writes to",
		Long: `Setup creates topics, templates and dashboards, and says what it changed. It may be run again at any time, before every
start for instance: topics and templates that are there and right are left alone; Kibana's objects are replaced.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	var file string
	sub := func(name, short string, run func(ctx context.Context, cfg *config.Config) ([]string, error)) *cobra.Command {
		c := &cobra.Command{
			Use:   name + " -c minecanary.yaml",
			Short: short,
			Args:  cobra.NoArgs,
			RunE: func(c *cobra.Command, _ []string) error {
				cfg, err := loadConfig(file)
				if err != nil {
					return err
				}
				changed, err := run(c.Context(), cfg)
				for _, what := range changed {
					if _, err := fmt.Fprintln(e.stdout, what); err != nil {
						return err
					}
				}
				if err == nil && len(changed) == 0 {
					say(e.stderr, "nothing to change")
				}
				return err
			},
		}
		c.Flags().StringVarP(&file, "config", "c", "", "configuration file; without it the environment alone")
		return c
	}
	c.AddCommand(
		sub("kafka", "create the topics that serve writes to", setupKafka),
		sub("elasticsearch", "install the templates of the data streams", setupElasticsearch),
		sub("kibana", "import data views and dashboards, replacing older ones", setupKibana),
	)
	return c
}

func setupKafka(ctx context.Context, cfg *config.Config) ([]string, error) {
	if len(cfg.Kafka.Brokers) == 0 {
		return nil, usagef("kafka.brokers names no broker")
	}
	var specs []kafka.TopicSpec
	for _, t := range names(cfg.Kafka).Topics() {
		specs = append(specs, kafka.TopicSpec{Name: t.Name, Partitions: t.Partitions, Replication: -1, Configs: t.Config})
	}
	ctx, cancel := context.WithTimeout(ctx, setupWithin)
	defer cancel()
	created, err := kafka.EnsureTopics(ctx, kafkaClient(cfg.Kafka), specs)
	out := make([]string, len(created))
	for i, name := range created {
		out[i] = "topic " + name
	}
	return out, err
}

func setupElasticsearch(ctx context.Context, cfg *config.Config) ([]string, error) {
	if len(cfg.Elasticsearch.URLs) == 0 {
		return nil, usagef("elasticsearch.urls names no node")
	}
	client, err := newElasticsearch(cfg.Elasticsearch, nil, nil)
	if err != nil {
		return nil, err
	}
	changed, err := client.Setup(ctx)
	if closed := client.Close(ctx); err == nil {
		err = closed
	}
	return changed, err
}

func setupKibana(ctx context.Context, cfg *config.Config) ([]string, error) {
	k := cfg.Kibana
	if k.URL == "" {
		return nil, usagef("kibana.url is empty")
	}
	t, err := tlsConfig("kibana", k.CA, "", "", k.InsecureSkipVerify)
	if err != nil {
		return nil, err
	}
	err = elasticsearch.SetupKibana(ctx, elasticsearch.KibanaConfig{URL: k.URL, APIKey: k.APIKey, User: k.User, Password: k.Password, TLS: t}, docker.Kibana)
	if err != nil {
		return nil, err
	}
	lines := slices.Collect(strings.Lines(strings.TrimSpace(string(docker.Kibana))))
	return []string{fmt.Sprintf("imported %d saved objects", len(lines))}, nil
}
