//go:build services

package suricata_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/minecanary/minecanary/internal/stack"
)

// TestConfiguration: Suricata's own test takes our rules with our part of a configuration, beside what its package
// brings, whose other settings stay.
func TestConfiguration(t *testing.T) {
	suricata(t, "-T", "--include", part(t, "minecanary.yaml"), "-S", rules(t), "-l", t.TempDir())
	keepsTheRest(t, "minecanary.yaml")
}

func keepsTheRest(t *testing.T, name string) {
	t.Helper()
	dump := suricata(t, "--include", part(t, name), "--dump-config")
	for _, want := range []string{"stream.midstream = true", "stream.memcap = ", "outputs.0.eve-log.community-id = true"} {
		if !strings.Contains(dump, "\n"+want) {
			t.Errorf("no %q in what Suricata read", want)
		}
	}
	if strings.Contains(dump, "\noutputs.1 ") {
		t.Error("outputs of the package are left")
	}
}

// summary is what the same event is recognised by in a file and in Redis.
type summary struct {
	Type  string `json:"event_type"`
	Src   string `json:"src_ip"`
	Alert struct {
		SID int `json:"signature_id"`
	}
}

// TestRedis: the same events come into a list of Redis, whole and one to an element.
func TestRedis(t *testing.T) {
	service := stack.Redis(t, stack.Single)
	_, port, err := net.SplitHostPort(service.Addrs[0])
	if err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile(part(t, "minecanary-redis.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	moved := bytes.Replace(config, []byte("port: 6379"), []byte("port: "+port), 1)
	if bytes.Equal(moved, config) {
		t.Fatal("no port to change")
	}
	name := filepath.Join(t.TempDir(), "redis.yaml")
	if err := os.WriteFile(name, moved, 0o600); err != nil {
		t.Fatal(err)
	}
	toRedis := []string{"--include", name}
	suricata(t, append([]string{"-T", "-S", rules(t), "-l", t.TempDir()}, toRedis...)...)
	keepsTheRest(t, "minecanary-redis.yaml")

	pcap := filepath.Join(tracesDir, "mining_json.pcap")
	suricata(t, append([]string{"-S", rules(t), "-r", pcap, "-l", t.TempDir(), "-k", "none", "--runmode", "single"}, toRedis...)...)
	list, err := exec.CommandContext(t.Context(), "redis-cli", "-p", port, "lrange", "suricata", "0", "-1").Output()
	if err != nil {
		t.Fatal(err)
	}
	got := map[summary]int{}
	for element := range bytes.Lines(list) {
		var s summary
		if err := json.Unmarshal(element, &s); err != nil {
			t.Fatalf("%q: %v", element, err)
		}
		got[s]++
	}
	want := map[summary]int{}
	for _, e := range events(t, read(t, pcap)) {
		s := summary{Type: e.Type, Src: e.SrcIP}
		s.Alert.SID = e.Alert.SID
		want[s]++
	}
	if len(want) < 10 {
		t.Fatalf("only %d events", len(want))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-file +Redis):\n%s", diff)
	}
}

// A dataset like that of the feed.
const (
	setName = "minecanary-test-pools"
	setRule = `alert tcp $HOME_NET any -> any any (msg:"TEST pool"; ip.dst; dataset:isset,` + setName +
		`,type ip,load pools.lst; classtype:coin-mining; sid:9199999; rev:1;)` + "\n"
)

// TestDatasetAddTakesEffectAtOnce holds docs/suricata.md to what it says of suricatasc: an address that is added to a
// running Suricata's dataset is found in the next capture, one that is removed no longer.
func TestDatasetAddTakesEffectAtOnce(t *testing.T) {
	if _, err := exec.LookPath("suricatasc"); err != nil {
		t.Fatal("no suricatasc here: test/suricata.sh installs it")
	}
	dir := t.TempDir()
	pools := filepath.Join(dir, "pools.lst")
	if err := os.WriteFile(pools, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ruleFile := filepath.Join(dir, "set.rules")
	if err := os.WriteFile(ruleFile, []byte(strings.Replace(setRule, "pools.lst", pools, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	// The path of a socket has at most 107 bytes.
	short, err := os.MkdirTemp("", "mc-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(short) }()
	socket := filepath.Join(short, "s")
	cmd := exec.CommandContext(t.Context(), "suricata", "--include", part(t, "minecanary.yaml"), "-S", ruleFile, "-l", dir, "-k", "none",
		"--unix-socket="+socket, "--set", "unix-command.filename="+socket)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	printed := make(chan string, 1)
	go func() {
		var all strings.Builder
		for sc := bufio.NewScanner(out); sc.Scan(); {
			fmt.Fprintln(&all, sc.Text())
		}
		printed <- all.String()
	}()
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		text := <-printed
		if err := cmd.Wait(); err != nil {
			t.Errorf("suricata: %v\n%s", err, text)
		}
	}()

	tell := func(command string) (string, error) {
		b, err := exec.CommandContext(t.Context(), "suricatasc", "-c", command, socket).CombinedOutput()
		return string(b), err
	}
	must := func(command string) string {
		t.Helper()
		answer, err := tell(command)
		if err != nil || !strings.Contains(answer, `"OK"`) {
			t.Fatalf("%s: %v %s", command, err, answer)
		}
		return answer
	}
	wait := func(what string, ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(50 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("no %s within a minute", what)
			}
		}
	}
	wait("answer on the socket", func() bool {
		answer, err := tell("uptime")
		return err == nil && strings.Contains(answer, `"OK"`)
	})
	var c capture
	k := c.connect(3333)
	k.say(client, "hello\n")
	k.bye()
	pcap := c.write(t)
	runs := 0
	alerts := func() int {
		t.Helper()
		runs++
		out := filepath.Join(dir, strconv.Itoa(runs))
		if err := os.Mkdir(out, 0o700); err != nil {
			t.Fatal(err)
		}
		must(fmt.Sprintf("pcap-file %s %s", pcap, out))
		name := filepath.Join(out, "minecanary.json")
		n := 0
		// The flow is logged when the run ends, behind all alerts.
		wait("record of the flow", func() bool {
			if _, err := os.Stat(name); errors.Is(err, os.ErrNotExist) {
				return false
			}
			n = 0
			done := false
			for _, e := range events(t, name) {
				done = done || e.Type == "flow"
				if e.Type == "alert" && e.Alert.SID == 9199999 {
					n++
				}
			}
			return done
		})
		return n
	}
	if n := alerts(); n != 0 {
		t.Errorf("%d alerts before the address was added", n)
	}
	must("dataset-add " + setName + " ip " + k.server.Addr().String())
	if n := alerts(); n == 0 {
		t.Error("no alert after the address was added")
	}
	must("dataset-remove " + setName + " ip " + k.server.Addr().String())
	if n := alerts(); n != 0 {
		t.Errorf("%d alerts after the address was removed", n)
	}
}
