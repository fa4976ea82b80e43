//go:build services

package app

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minecanary/minecanary/enrich"
	"github.com/minecanary/minecanary/enrich/memory"
	"github.com/minecanary/minecanary/internal/stack"
)

// redisCommand sends a command to Redis, in its protocol, and takes the answer's first line.
func redisCommand(t *testing.T, conn net.Conn, args ...string) {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	if _, err := io.WriteString(conn, b.String()); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 256)
	n, err := conn.Read(answer)
	if err != nil || n == 0 || answer[0] == '-' {
		t.Fatalf("%s: %q, %v", args[0], answer[:n], err)
	}
}

// TestRedisInput has Suricata's events come by a list and by a stream of Redis, and stops the service in between: each event
// counts once, and of the list nothing is left.
func TestRedisInput(t *testing.T) {
	addr := stack.Redis(t, stack.Single).Addrs[0]
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	for _, mode := range []string{"lpush", "rpush", "xadd"} {
		t.Run(mode, func(t *testing.T) {
			dir := t.TempDir()
			config := filepath.Join(dir, "minecanary.yaml")
			text := fmt.Sprintf(`
input: {redis: "%s", redis_key: eve-%s, redis_mode: %s}
state: {dir: %s/state, snapshot_every: 1s}
hits: {file: ""}
http: {listen: ""}
api: {listen: ""}
`, addr, mode, mode, dir)
			if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			const events = 3000
			push := func(from, to int) {
				start := time.Now().UTC().Add(-time.Minute)
				for i := from; i < to; i++ {
					line := fmt.Sprintf(`{"timestamp":"%[1]s","flow_id":%[2]d,"event_type":"flow","src_ip":"10.1.0.5","src_port":%[3]d,"dest_ip":"192.0.2.1","dest_port":3333,"proto":"TCP","flow":{"pkts_toserver":6,"pkts_toclient":4,"bytes_toserver":600,"bytes_toclient":400,"start":"%[1]s","end":"%[1]s","age":0,"state":"closed","reason":"timeout"},"tcp":{"tcp_flags":"1b","tcp_flags_ts":"1b","tcp_flags_tc":"1b"}}`,
						start.Format("2006-01-02T15:04:05.000000-0700"), 1_000_000+i, 1024+i)
					if mode == "xadd" {
						redisCommand(t, conn, "XADD", "eve-"+mode, "*", "eve", line)
					} else {
						redisCommand(t, conn, strings.ToUpper(mode), "eve-"+mode, line)
					}
				}
			}
			// count gives the records that the state has.
			count := func() (n uint32) {
				store := memory.New(memory.Config{Report: time.Hour, Inactive: 15 * time.Minute, File: filepath.Join(dir, "state", stateFile)})
				if store.Peek() != nil {
					return 0
				}
				err := store.Each(t.Context(), nil, func(s *enrich.Suspect) bool {
					for _, seg := range s.Segments {
						n += seg.Aggregate.Records
					}
					return true
				})
				if err != nil {
					t.Fatal(err)
				}
				return n
			}
			serve := func(while func()) {
				ctx, stop := context.WithCancel(t.Context())
				ended := make(chan int, 1)
				go func() {
					ended <- Main(ctx, []string{"serve", "-c", config}, strings.NewReader(""), io.Discard, io.Discard, func(string) string { return "" })
				}()
				while()
				stop()
				if code := <-ended; code != ExitOK {
					t.Errorf("exit code %d", code)
				}
			}
			push(0, events/3)
			serve(func() {
				push(events/3, events/2)
				until(t, "the first half", func() bool { return count() >= events/3 })
			})
			push(events/2, 2*events/3)
			serve(func() { push(2*events/3, events); until(t, "all", func() bool { return count() >= events }) })
			if n := count(); n != events {
				t.Errorf("%d records, want %d", n, events)
			}
		})
	}
}
