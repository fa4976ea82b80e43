package app

import (
	"bufio"
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/minecanary/minecanary/cmd/minecanary/config"
	"github.com/minecanary/minecanary/enrich"
	"github.com/minecanary/minecanary/prober/spar"
)

// demoLogs are what Zeek 8.0.10 with our scripts wrote of two-hour sessions that we generated: five miners and ten
// kinds of ordinary traffic that look alike.
//
//go:embed demo/conn.log demo/conn_interim.log
var demoLogs embed.FS

// demoNet is where the sparring pools listen; only there is the address rule lifted.
const demoNet = "127.20.0.0/24"

// demoPool moves one server of the logs to a sparring pool. Port 443 becomes 14433, as ports below 1024 need root.
type demoPool struct {
	server  string
	port    int
	to      string
	toPort  int
	dialect string
	tls     spar.TLS
	// copy makes the row a second one under this client's address instead of moving it: no log of a Zcash miner is
	// bundled, and a miner of Bitcoin looks alike.
	copy string
}

var demoPools = []demoPool{
	{server: "192.0.2.10", port: 3333, to: "127.20.0.10", toPort: 3333, dialect: "stratum-v1"},
	{server: "203.0.113.12", port: 443, to: "127.20.0.12", toPort: 14433, dialect: "stratum-v1", tls: spar.Only},
	{server: "203.0.113.15", port: 3333, to: "127.20.0.15", toPort: 3333, dialect: "cryptonote"},
	{server: "198.51.100.17", port: 14444, to: "127.20.0.17", toPort: 14444, dialect: "cryptonote", tls: spar.Auto},
	{server: "203.0.113.18", port: 4444, to: "127.20.0.18", toPort: 4444, dialect: "ethproxy"},
	{server: "192.0.2.10", port: 3333, to: "127.20.0.19", toPort: 3443, dialect: "zcash", copy: "10.20.1.19"},
}

// demoPages is where the demo's pages are, unless somebody is there already.
const demoPages = "127.0.0.1:9480"

func newDemo(e env) *cobra.Command {
	serve := terminal(e.stdout)
	c := &cobra.Command{
		Use:   "demo",
		Short: "show the whole way on bundled logs, with sparring pools on loopback",
		Long: `Demo starts small mining pools of our own on ` + demoNet + `, takes bundled logs that a real Zeek wrote of five miners and
ten kinds of ordinary traffic, rewrites the miners' servers to those pools, and runs detect with the prober on. Nothing
leaves this machine and nothing is left behind. On a terminal, or with --serve, the pools and the pages with the catalogue
and these hits stay up until Ctrl-C.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runDemo(c.Context(), e, serve) },
	}
	c.Flags().BoolVar(&serve, "serve", serve, "stay up with the pages; the default on a terminal")
	return c
}

func runDemo(ctx context.Context, e env, serve bool) (err error) {
	// A reader that goes away (demo | head) must not end the process before it has cleaned up.
	signal.Ignore(syscall.SIGPIPE)
	dir, err := os.MkdirTemp("", "minecanary-demo-")
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	out := bufio.NewWriter(e.stdout)
	defer func() { err = errors.Join(err, out.Flush()) }()
	poolsUp, end := context.WithCancel(ctx)
	defer end()
	heading(out, "Pools", "sparring partners of ours; they mine nothing")
	for _, p := range demoPools {
		s, err := spar.Start(poolsUp, spar.Options{Addr: fmt.Sprintf("%s:%d", p.to, p.toPort), Dialect: p.dialect, TLS: p.tls})
		if err != nil {
			return hintError{
				fmt.Errorf("demo: %w", err),
				"the demo wants the whole of 127.0.0.0/8 on the loopback interface, as on Linux, and the ports of its pools free",
			}
		}
		defer s.Close()
		words := map[spar.TLS]string{spar.Plain: "", spar.Only: " over TLS", spar.Auto: " plain and TLS"}
		fmt.Fprintf(out, "  %-19s %s%s\n", s.Addr(), p.dialect, words[p.tls])
	}

	var logs []string
	for _, name := range []string{"conn.log", "conn_interim.log"} {
		b, err := demoLogs.ReadFile("demo/" + name)
		if err != nil {
			return fmt.Errorf("demo: %w", err)
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, rewriteDemo(b), 0o600); err != nil {
			return fmt.Errorf("demo: %w", err)
		}
		logs = append(logs, path)
	}
	heading(out, "Logs", "written by Zeek 8.0.10 of generated two-hour sessions: 5 miners, 10 look-alikes")
	fmt.Fprintf(out, "  In this copy the miners' servers are rewritten to the pools above; the Zcash miner is the Bitcoin miner's\n"+
		"  log under other addresses. All other servers keep addresses that the prober refuses (RFC 5737).\n")
	feedDir, auditFile, hitsFile := filepath.Join(dir, "feed"), filepath.Join(dir, "audit.ndjson"), filepath.Join(dir, "hits.ndjson")
	heading(out, "Detect", "minecanary detect --probe auto --allow-probe "+demoNet+" --allow-feed "+demoNet+" --feed feed/ conn.log conn_interim.log")
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	o := detectOptions{
		scorer: "canary", probe: "auto", format: "auto", allowProbe: []string{demoNet}, allowFeed: []string{demoNet},
		feed: feedDir, audit: auditFile, out: hitsFile,
	}
	pages, err := newDemoPages(e, dir)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer func() { err = errors.Join(err, pages.directory.Close()) }()
	o.sinks = []enrich.Sink{pages.local, historySink{pages.directory, pages.directory.warn}}
	if err := runDetect(ctx, e, o, logs); err != nil {
		return err
	}
	for _, show := range []struct{ title, note, file, only string }{
		{"Feed", "for Zeek's Intel framework: intel.dat", filepath.Join(feedDir, "intel.dat"), ""},
		{"Feed", "for our pools.zeek, by address and port: pools.dat", filepath.Join(feedDir, "pools.dat"), ""},
		{"Audit", "why each server was asked, and every connection made, hash-chained: audit.ndjson", auditFile, "127.20.0.15:"},
		{"Hits", "the same as ECS documents: hits.ndjson", hitsFile, `"source":{"address":"10.20.1.15"`},
	} {
		heading(out, show.title, show.note)
		if err := showFile(out, show.file, show.only); err != nil {
			return fmt.Errorf("demo: %w", err)
		}
	}
	heading(out, "Next", "")
	fmt.Fprintf(out, "  bin/minecanary detect --suspects conn.log                  your own log, nothing is sent anywhere\n"+
		"  bin/minecanary detect --json --suspects conn.log | jq .    the same as ECS documents\n"+
		"  bin/minecanary probe 198.51.100.10:3333                    ask one server\n"+
		"  bin/minecanary serve -c minecanary.yaml                    follow logs, keep state, publish the feed\n")
	if !serve {
		return nil
	}
	g, ctx := errgroup.WithContext(ctx)
	at, err := pages.run(ctx, g)
	if err != nil {
		pages.cfg.Listen = "127.0.0.1:0"
		if at, err = pages.run(ctx, g); err != nil {
			return fmt.Errorf("demo: %w", err)
		}
	}
	fmt.Fprintf(out, "\n  The pages: %s has the catalogue of known pools, and these hits.\n"+
		"  The pools stay up: in another terminal try\n"+
		"    bin/minecanary probe --transcript --allow-probe %s 127.20.0.15:3333 127.20.0.19:3443\n  Ctrl-C ends the demo.\n", at, demoNet)
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return g.Wait()
}

// newDemoPages gives the pages over the shipped catalogue, with a history in the demo's folder.
func newDemoPages(e env, dir string) (*site, error) {
	cfg := config.Default()
	cfg.State.Dir, cfg.API.Listen = dir, demoPages
	warn := func(err error) { say(e.stderr, "%v", err) }
	d, err := openDirectory(cfg, warn)
	if err != nil {
		return nil, err
	}
	if err := d.sweep(nil, false, warn); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	log := slog.New(slog.NewTextHandler(e.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	return &site{cfg: cfg.API, directory: d, local: &local{}, log: log, stateDir: dir}, nil
}

func heading(w io.Writer, title, note string) {
	_, _ = fmt.Fprintf(w, "\n== %s  %s\n", title, note) // the buffered writer tells of errors when it is flushed
}

// showLines and showWidth bound what showFile prints.
const showLines, showWidth = 12, 400

// showFile prints the lines of a file that hold a text, cut to a readable width.
func showFile(w io.Writer, name, only string) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	shown, left := 0, 0
	for line := range strings.Lines(string(b)) {
		if shown == showLines || !strings.Contains(line, only) {
			left++
			continue
		}
		shown++
		line = strings.TrimRight(line, "\n")
		if len(line) > showWidth {
			line = line[:showWidth] + "…"
		}
		_, _ = fmt.Fprintf(w, "  %s\n", line)
	}
	if left > 0 {
		_, _ = fmt.Fprintf(w, "  … %s\n", counted(left, "more line"))
	}
	return nil
}

// rewriteDemo moves the miners' servers in a log to the sparring pools.
func rewriteDemo(log []byte) []byte {
	var out bytes.Buffer
	for line := range bytes.Lines(log) {
		written := false
		for _, p := range demoPools {
			row, ok := moveRow(line, p)
			if !ok {
				continue
			}
			out.Write(row)
			written = true
		}
		if !written {
			out.Write(line)
		}
	}
	return out.Bytes()
}

// moveRow gives the row with its server moved to the pool; not ok if the row is of another server. Only the values of
// id.* change, so that everything else stays as Zeek wrote it.
func moveRow(line []byte, p demoPool) ([]byte, bool) {
	var row struct {
		OrigH string `json:"id.orig_h"`
		OrigP int    `json:"id.orig_p"`
		RespH string `json:"id.resp_h"`
		RespP int    `json:"id.resp_p"`
		UID   string `json:"uid"`
	}
	if json.Unmarshal(line, &row) != nil {
		return nil, false
	}
	server, client, clientHost := "resp", "orig", row.OrigH
	if row.OrigH == p.server && row.OrigP == p.port {
		server, client, clientHost = "orig", "resp", row.RespH
	} else if row.RespH != p.server || row.RespP != p.port {
		return nil, false
	}
	text := string(line)
	text = strings.Replace(text, fmt.Sprintf(`"id.%s_h":%q`, server, p.server), fmt.Sprintf(`"id.%s_h":%q`, server, p.to), 1)
	text = strings.Replace(text, fmt.Sprintf(`"id.%s_p":%d`, server, p.port), fmt.Sprintf(`"id.%s_p":%d`, server, p.toPort), 1)
	if p.copy != "" {
		text = strings.Replace(text, fmt.Sprintf(`"id.%s_h":%q`, client, clientHost), fmt.Sprintf(`"id.%s_h":%q`, client, p.copy), 1)
		text = strings.Replace(text, row.UID, "Cz"+row.UID[2:], 1)
	}
	return []byte(text), true
}
