// Package stack starts real Kafka, Redis and Elasticsearch on loopback for tests and benchmarks, by the scripts in
// docker/stack, and stops them when the test ends. Nothing is left but the artifacts in the scripts' cache.
package stack

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// startTimeout bounds one start; the first one downloads the artifacts.
const startTimeout = 10 * time.Minute

// Service is a running service.
type Service struct {
	// Addrs are its addresses, host:port. Kafka: all brokers. Redis: the server, the cluster's nodes, or the sentinels.
	Addrs []string
	// Port is the base port that the script was given.
	Port   int
	script string
	env    []string
	data   string
}

// Kafka starts brokers, 1 or 3.
func Kafka(tb testing.TB, brokers int) *Service {
	tb.Helper()
	s := start(tb, "kafka.sh", 10*brokers, map[string]string{"PORT": "KAFKA_PORT", "DATA": "KAFKA_DATA"}, strconv.Itoa(brokers))
	for i := range brokers {
		s.Addrs = append(s.Addrs, loopback(s.Port+10*i))
	}
	return s
}

// RedisKind is how Redis is run.
type RedisKind string

// The kinds.
const (
	Single   RedisKind = "single"
	Cluster  RedisKind = "cluster"  // three masters
	Sentinel RedisKind = "sentinel" // a master, a replica, three sentinels; the master is called "mymaster"
)

// Redis starts Redis. A test without redis-server fails: it says how to install it.
func Redis(tb testing.TB, kind RedisKind) *Service {
	tb.Helper()
	s := start(tb, "redis.sh", 10, map[string]string{"PORT": "REDIS_PORT", "DATA": "REDIS_DATA"}, string(kind))
	switch kind {
	case Cluster:
		s.Addrs = []string{loopback(s.Port), loopback(s.Port + 1), loopback(s.Port + 2)}
	case Sentinel:
		s.Addrs = []string{loopback(s.Port + 20000), loopback(s.Port + 20001), loopback(s.Port + 20002)}
	case Single:
		s.Addrs = []string{loopback(s.Port)}
	}
	return s
}

// Elasticsearch starts one node without security.
func Elasticsearch(tb testing.TB) *Service {
	tb.Helper()
	s := start(tb, "es.sh", 101, map[string]string{"PORT": "ES_PORT", "DATA": "ES_DATA"})
	s.Addrs = []string{loopback(s.Port)}
	return s
}

// Script runs the service's script with other words: kill-node 2, start-node 2, stop, start.
func (s *Service) Script(ctx context.Context, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.script, args...)
	cmd.Env = append(os.Environ(), s.env...)
	// The services outlive the script and would hold a pipe open.
	out, err := os.CreateTemp("", "stack-*.log")
	if err != nil {
		return err
	}
	defer func() { _ = errors.Join(out.Close(), os.Remove(out.Name())) }()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		said, _ := os.ReadFile(out.Name())
		return fmt.Errorf("%s %s: %w\n%s", filepath.Base(s.script), strings.Join(args, " "), err, said)
	}
	return nil
}

// PIDs are the processes that the script has started, as long as they run. What they start themselves is not among them.
func (s *Service) PIDs() ([]int, error) {
	var out []int
	for _, pattern := range []string{"pid", "*/pid"} {
		files, err := filepath.Glob(filepath.Join(s.data, pattern))
		if err != nil {
			return nil, err
		}
		for _, name := range files {
			b, err := os.ReadFile(name)
			if err != nil {
				return nil, err
			}
			pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			out = append(out, pid)
		}
	}
	return out, nil
}

func start(tb testing.TB, script string, ports int, names map[string]string, args ...string) *Service {
	tb.Helper()
	_, self, _, ok := runtime.Caller(0)
	if !ok {
		tb.Fatal("no source path")
	}
	dir, err := os.MkdirTemp("", "minecanary-stack-") //nolint:usetesting // the folders of testing cannot be reached by the user that Elasticsearch runs as
	if err != nil {
		tb.Fatal(err)
	}
	// Elasticsearch runs as nobody and has to reach its folder.
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // a folder of a test
		tb.Fatal(err)
	}
	s := &Service{script: filepath.Join(filepath.Dir(self), "..", "..", "docker", "stack", script)}
	for try := range 3 {
		s.Port = freePorts(tb, ports)
		s.data = filepath.Join(dir, strconv.Itoa(try))
		s.env = []string{names["PORT"] + "=" + strconv.Itoa(s.Port), names["DATA"] + "=" + s.data}
		if err = s.Script(context.Background(), append([]string{"start"}, args...)...); err == nil {
			break
		}
		tb.Logf("start again: %v", err)
		_ = s.Script(context.Background(), "stop")
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Script(context.Background(), "stop"); err != nil {
			tb.Error(err)
		}
		if err := os.RemoveAll(dir); err != nil {
			tb.Error(err)
		}
	})
	return s
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// freePorts finds a run of free ports. The kernel takes none of them for outgoing connections (which begin at 32768), nor
// of those that the services derive from theirs (port + 10, + 100, + 10000 and + 20000).
func freePorts(tb testing.TB, n int) int {
	tb.Helper()
	const lowest, step, runs = 10000, 130, 20
	for _, run := range rand.Perm(runs) {
		base := lowest + run*step
		if free(base, n) {
			return base
		}
	}
	tb.Fatal("no free ports")
	return 0
}

// free tells whether nobody listens at n ports, nor at those derived from them.
func free(base, n int) bool {
	for port := base; port < base+n; port++ {
		for _, offset := range []int{0, 10, 100, 10000, 20000} {
			ln, err := net.Listen("tcp", loopback(port+offset))
			if err != nil {
				return false
			}
			_ = ln.Close()
		}
	}
	return true
}
