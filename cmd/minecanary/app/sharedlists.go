package app

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/enrich"
	"github.com/minecanary/minecanary/enrich/redis"
	"github.com/minecanary/minecanary/intel/lists"
)

// listsEvery is how often the shared lists are looked at.
const listsEvery = 5 * time.Second

// sharedLists are the lists that hold for all processes: the newest that any of them was started with.
type sharedLists struct {
	*service
	current atomic.Pointer[endpointLists]
	version string

	// What this process was started with; nothing if own is false.
	own    bool
	texts  redis.ListTexts
	ours   string // version
	newest time.Time
}

// shareLists makes the lists of the files, if there are any, those of all processes.
func (s *service) shareLists(deps *enrich.Deps, files *endpointLists) error {
	l := &sharedLists{service: s, own: files != nil}
	s.lists, deps.Lists = l, l
	if !l.own {
		return nil
	}
	l.current.Store(files)
	read := func(paths []string) (text []byte, err error) {
		for _, path := range paths {
			b, err := os.ReadFile(path)
			if err != nil {
				return nil, fmt.Errorf("list: %w", err)
			}
			info, err := os.Stat(path)
			if err != nil {
				return nil, fmt.Errorf("list: %w", err)
			}
			if info.ModTime().After(l.newest) {
				l.newest = info.ModTime()
			}
			text = append(append(text, bytes.TrimPrefix(b, []byte("\ufeff"))...), '\n')
		}
		return text, nil
	}
	var err error
	if l.texts.Allow, err = read(s.cfg.Lists.Allow); err != nil {
		return err
	}
	if l.texts.Block, err = read(s.cfg.Lists.Block); err != nil {
		return err
	}
	sum := sha256.Sum256(append(append(bytes.Clone(l.texts.Allow), 0), l.texts.Block...))
	l.ours = hex.EncodeToString(sum[:])
	if len(l.texts.Allow)+len(l.texts.Block) > redis.MaxLists {
		return redis.ErrListsTooLong
	}
	return nil
}

// exchange offers the lists of this process and takes those that hold; it goes on trying.
func (l *sharedLists) exchange(ctx context.Context) error {
	return l.waitFor(ctx, "redis", func(ctx context.Context) error {
		if l.own {
			if err := l.shared.Offer(ctx, l.texts, l.ours, l.newest); err != nil {
				return err
			}
		}
		return l.look(ctx)
	})
}

// look takes the lists that hold if they are others than before.
func (l *sharedLists) look(ctx context.Context) error {
	texts, version, err := l.shared.Get(ctx, l.version)
	if err != nil || version == l.version {
		return err
	}
	if version == "" {
		// They were lost with everything else: what is known here holds on, and is offered again.
		if l.own {
			return l.shared.Offer(ctx, l.texts, l.ours, l.newest)
		}
		return nil
	}
	allow, bad := lists.Parse(bytes.NewReader(texts.Allow), "shared allow list")
	block, more := lists.Parse(bytes.NewReader(texts.Block), "shared block list")
	if bad = append(bad, more...); len(bad) > 0 {
		l.log.Error("shared lists have bad lines, which are left out", slog.Int("lines", len(bad)), slog.Any("first", bad[0]))
	}
	l.version = version
	l.current.Store(&endpointLists{allow, block})
	l.log.Info("lists shared by all processes", slog.Int("allow", allow.Len()), slog.Int("block", block.Len()), slog.Bool("ours", version == l.ours))
	return nil
}

// follow looks at the shared lists from time to time.
func (l *sharedLists) follow(ctx context.Context) error {
	return every(ctx, listsEvery, func() {
		if err := l.look(ctx); err != nil && ctx.Err() == nil {
			l.failing("redis")(err)
		}
	})
}

// every does something at each turn of an interval until the context ends, and gives nil then.
func every(ctx context.Context, interval time.Duration, do func()) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			do()
		}
	}
}

// Allowed implements enrich.Lists.
func (l *sharedLists) Allowed(ep minecanary.Endpoint, at time.Time) (string, bool) {
	if c := l.current.Load(); c != nil {
		return c.Allowed(ep, at)
	}
	return "", false
}

// Blocked implements enrich.Lists.
func (l *sharedLists) Blocked(ep minecanary.Endpoint, at time.Time) (string, bool) {
	if c := l.current.Load(); c != nil {
		return c.Blocked(ep, at)
	}
	return "", false
}

// refuse keeps what the allow list names out of feeds.
func (l *sharedLists) refuse(ep minecanary.Endpoint) string { return l.current.Load().refuse(ep) }
