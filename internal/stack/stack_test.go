//go:build services

package stack

import "testing"

func TestKafka(t *testing.T)         { t.Log(Kafka(t, 1).Addrs) }
func TestRedis(t *testing.T)         { t.Log(Redis(t, Single).Addrs) }
func TestRedisCluster(t *testing.T)  { t.Log(Redis(t, Cluster).Addrs) }
func TestRedisSentinel(t *testing.T) { t.Log(Redis(t, Sentinel).Addrs) }
func TestElasticsearch(t *testing.T) { t.Log(Elasticsearch(t).Addrs) }
