package app

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/cmd/minecanary/config"
	"github.com/minecanary/minecanary/consumer"
	"github.com/minecanary/minecanary/consumer/decode"
	"github.com/minecanary/minecanary/consumer/files"
	"github.com/minecanary/minecanary/consumer/slicer"
	"github.com/minecanary/minecanary/intel/catalog"
	"github.com/minecanary/minecanary/intel/history"
	"github.com/minecanary/minecanary/intel/lookup"
)

// markedFlow is one flow as it is told.
type markedFlow struct {
	Start  time.Time      `json:"start"`
	End    time.Time      `json:"end"`
	Client netip.AddrPort `json:"client"`
	Server netip.AddrPort `json:"server"`
	Mark   string         `json:"mark"`
	Pool   string         `json:"pool,omitempty"`
	Name   string         `json:"name,omitempty"`
	Coin   string         `json:"coin,omitempty"`
	Source string         `json:"source,omitempty"`
}

// runLookupFlows marks the flows of files.
func runLookupFlows(ctx context.Context, e env, o lookupOptions, paths []string) (err error) {
	if o.at != "" {
		return usagef("--at: with --flows the time is that of each flow")
	}
	if o.format != "auto" && form(o.format) == consumer.FormUnknown {
		return usagef("--format: %q is none of auto, %s", o.format, forms())
	}
	local, err := prefixes("--local", o.local)
	if err != nil {
		return err
	}
	if o.ask.api != "" {
		return usagef("--api: flows are marked from files; --history takes a copy, too (catalogue.backup)")
	}
	s, err := o.sources()
	if err != nil {
		return err
	}
	x, partial, err := readIndex(e.stderr, s, history.DefaultLockTimeout)
	if errors.Is(err, history.ErrInUse) {
		return hintError{err, "flows are marked from a file: --history takes the copy that a service writes (catalogue.backup)"}
	}
	if err != nil {
		return err
	}
	bad, err := newBadLines(e.stderr, "")
	if err != nil {
		return err
	}
	unread := 0
	src, err := files.New(files.Config{Paths: append(paths, o.files...), Stdin: e.stdin, OnError: func(path string, err error) {
		unread++
		say(e.stderr, "%s: %v", path, err)
	}})
	if err != nil {
		return errors.Join(usageError{err}, bad.close())
	}
	stage := decode.New(decode.Config{
		Form: form(o.format), Marked: decode.DeferMarked, OnBad: bad.take,
		Slicer: slicer.New(slicer.Config{Virtual: config.Default().Slice.Virtual, Local: local}),
	})
	m := marking{index: x, out: bufio.NewWriter(e.stdout), all: o.all, pairs: map[minecanary.Pair]bool{}}
	if o.json {
		m.encoder = json.NewEncoder(m.out)
	}
	if err := m.run(ctx, src, stage); err != nil {
		return errors.Join(err, bad.close(), m.out.Flush())
	}
	if err := errors.Join(m.out.Flush(), bad.close()); err != nil {
		return err
	}
	counts := stage.Counts()
	say(e.stderr, "%s, %d to known pools, %d to other ports of their addresses; %s",
		counted(int(counts.Records), "flow"), m.levels[lookup.KnownPool], m.levels[lookup.KnownAddress], counted(len(m.pairs), "pair"))
	if decode.Total(counts.Bad) > 0 || unread > 0 {
		return errPartial
	}
	return partial
}

// marking marks flows as they come.
type marking struct {
	index   *lookup.Index
	out     *bufio.Writer
	encoder *json.Encoder // nil for text
	all     bool
	levels  [lookup.KnownPool + 1]uint64
	// pairs are who talked to a known pool.
	pairs map[minecanary.Pair]bool
}

func (m *marking) run(ctx context.Context, src consumer.Source, stage *decode.Stage) error {
	if err := src.Connect(ctx); err != nil {
		return err
	}
	results := make(chan decode.Result)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return stage.Run(ctx, src, results) })
	g.Go(func() error {
		for r := range results {
			for i := range r.Slices {
				if err := m.flow(&r.Slices[i]); err != nil {
					return fmt.Errorf("write: %w", err)
				}
			}
			if r.Release != nil {
				r.Release()
			}
			if r.Ack != nil {
				if err := r.Ack(ctx, nil); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return errors.Join(g.Wait(), src.Close())
}

// flow marks one by what was known at any time between its begin and its end: collectors cut a connection into flows that
// Zeek has as one, and the marks of all of them must say the same. Which end is the server is the slicer's guess, so the
// other end is looked at, too.
func (m *marking) flow(s *minecanary.Slices) error {
	start, end := time.UnixMicro(s.Start).UTC(), time.UnixMicro(s.End).UTC()
	client, server := netip.AddrPortFrom(s.Client, s.ClientPort), netip.AddrPortFrom(s.Server.Addr, s.Server.Port)
	level, row := m.index.MarkBetween(s.Server, start, end)
	if level != lookup.KnownPool && s.ClientPort != 0 {
		other := minecanary.NewEndpoint(s.Client, s.ClientPort, s.Server.Transport)
		if l, r := m.index.MarkBetween(other, start, end); l > level {
			level, row = l, r
			client, server = server, client
		}
	}
	m.levels[level]++
	if level == lookup.KnownPool {
		pair := minecanary.Pair{Client: client.Addr(), Server: minecanary.NewEndpoint(server.Addr(), server.Port(), s.Server.Transport)}
		if len(m.pairs) < maxPairs {
			m.pairs[pair] = true
		}
	}
	if level == lookup.NotKnown && !m.all {
		return nil
	}
	f := markedFlow{Start: start, End: end, Client: client, Server: server, Mark: level.String()}
	if row != (catalog.Row{}) {
		f.Pool, f.Name, f.Coin, f.Source = row.Pool.Name, row.Server.Name, row.Endpoint.Coin, row.Endpoint.Source
	}
	if m.encoder != nil {
		return m.encoder.Encode(f)
	}
	line := fmt.Sprintf("%s  %-12s  %s -> %s  %s %s %s", start.Format(time.RFC3339), f.Mark, client, server, f.Pool, f.Name, f.Coin)
	_, err := fmt.Fprintln(m.out, strings.TrimRight(line, " "))
	return err
}

// maxPairs bounds the count of pairs.
const maxPairs = 1_000_000
