package history

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"time"

	bolt "go.etcd.io/bbolt"
)

const (
	// compactSuffix is of the copy that Prune makes to give back space.
	compactSuffix = ".compact"
	// compactTx bounds the bytes of a transaction of that copy.
	compactTx = 4 << 20
	// compactMin and compactShare say when it is worth it: so many bytes are free, and of the file one part of so many.
	compactMin   = 1 << 20
	compactShare = 4
	// pruneRows is how many rows Prune looks at in one transaction.
	pruneRows = 10_000
)

// Backup writes a copy of the history as it is at this moment, a file for Open. Others may write meanwhile. The copy is
// whole only if Backup returns nil; Verify checks it.
func (db *DB) Backup(w io.Writer) error {
	return db.View(func(v *View) error {
		if _, err := v.tx.WriteTo(w); err != nil {
			return fmt.Errorf("back up history: %w", err)
		}
		return nil
	})
}

// Check walks the whole file as Open does. The error wraps ErrDamaged. Writers wait meanwhile.
func (db *DB) Check() (err error) {
	db.mu.RLock()
	defer db.mu.RUnlock()
	db.write.Lock()
	defer db.write.Unlock()
	if err := db.usable(); err != nil {
		return err
	}
	defer guard(&err, &db.broken)()
	// A transaction that writes keeps others from writing; this one never does.
	tx, err := db.bolt.Begin(true)
	if err != nil {
		return err
	}
	if err := errors.Join(verifyFile(db.file), tx.Rollback()); err != nil {
		return fmt.Errorf("check history %s: %w", db.path, err)
	}
	return nil
}

// Stats tells how much a history holds.
type Stats struct {
	// Size is of the file and Free of what is unused in it, in bytes.
	Size, Free int64
	// Tracks is the number of subjects' tracks (two of each name and endpoint), Rows of intervals in the past, Proofs and
	// Docs of those.
	Tracks, Rows, Proofs, Docs int
}

// Stats counts what is there. It reads the whole file.
func (db *DB) Stats() (Stats, error) {
	var s Stats
	err := db.View(func(v *View) error {
		n := func(bucket byte) int { return v.bucket(bucket).Stats().KeyN }
		s.Tracks, s.Rows, s.Proofs, s.Docs = n(bucketCurrent), n(bucketPast), n(bucketProofs), n(bucketDocs)
		_, s.Free = space(v.tx)
		info, err := db.file.Stat()
		if err != nil {
			return err
		}
		s.Size = info.Size()
		return nil
	})
	return s, err
}

// space is how many bytes of the file have ever been in use, and how many of them are free.
func space(tx *bolt.Tx) (size, free int64) {
	used := int64(0)
	for _, name := range buckets {
		s := tx.Bucket([]byte{name}).Stats()
		used += int64(s.BranchAlloc) + int64(s.LeafAlloc)
	}
	return tx.Size(), max(0, tx.Size()-used)
}

// Pruned is what Prune removed.
type Pruned struct {
	Rows, Proofs int
	// Compacted tells that the file was written anew to give back space.
	Compacted bool
}

// Prune removes the intervals that ended before a time, and the proofs from before; documents stay. Answers for that time
// and later stay the same. It works in steps and may be interrupted: what was removed until then is. If a good part of the
// file is free afterwards the file is written anew beside the old one, which it then replaces; everybody waits for that.
func (db *DB) Prune(ctx context.Context, before time.Time) (Pruned, error) {
	limit := clamp(before)
	var p Pruned
	var err error
	for _, bucket := range []byte{bucketPast, bucketCurrent, bucketProofs} {
		for from := []byte{}; from != nil && err == nil; {
			err = db.Update(ctx, func(tx *Tx) error {
				var n int
				var err error
				n, from, err = tx.prune(bucket, from, limit)
				if bucket == bucketProofs {
					p.Proofs += n
				} else {
					p.Rows += n
				}
				return err
			})
		}
	}
	if err == nil {
		p.Compacted, err = db.compact(ctx)
	}
	if err != nil {
		return p, fmt.Errorf("prune history: %w", err)
	}
	return p, nil
}

// prune removes what ended before limit among some keys of a bucket from a key on, and tells where to go on; nil is the
// end.
func (tx *Tx) prune(bucket byte, from []byte, limit int64) (removed int, next []byte, err error) {
	b := tx.bucket(bucket)
	var keys [][]byte
	gone := map[string]map[netip.Addr]bool{} // by name: addresses in rows that go
	c := b.Cursor()
	key, stored := c.Seek(from)
	for n := 0; key != nil && n < pruneRows; n++ {
		value, err := opened(bucket, key, stored)
		if err != nil {
			return 0, nil, err
		}
		over := false
		if bucket == bucketProofs {
			d := decoder{b: value}
			over = d.time() < limit
		} else {
			r, err := decodeRow(value)
			if err != nil {
				return 0, nil, err
			}
			if over = r.lastSeen+tx.gap <= limit; over {
				if err := addGone(gone, key, r); err != nil {
					return 0, nil, err
				}
			}
		}
		if over {
			keys = append(keys, bytes.Clone(key))
		}
		key, stored = c.Next()
	}
	next = bytes.Clone(key)
	// Before anything is deleted: cursors do not go backwards over pages that were emptied in the same transaction.
	if err := tx.unindex(gone, limit); err != nil {
		return 0, nil, err
	}
	for _, key := range keys {
		if err := b.Delete(key); err != nil {
			return 0, nil, err
		}
	}
	return len(keys), next, nil
}

// addGone notes the addresses in a row that goes.
func addGone(gone map[string]map[netip.Addr]bool, key []byte, r row) error {
	track, _, err := splitTrack(key)
	if err != nil || track[0] != kindName || track[len(track)-1] != trackAnswers {
		return err
	}
	a, err := decodeAnswer(r.value)
	if err != nil {
		return err
	}
	d := decoder{b: track[1:]}
	name := d.name()
	if gone[name] == nil {
		gone[name] = map[netip.Addr]bool{}
	}
	for _, addr := range a.addrs {
		gone[name][addr] = true
	}
	return nil
}

// unindex removes addresses of names from the index that no row has which stays.
func (tx *Tx) unindex(gone map[string]map[netip.Addr]bool, limit int64) error {
	for name, addrs := range gone {
		rows, err := tx.all(nameKey(name, trackAnswers), noTime, maxRows)
		if err != nil {
			return err
		}
		for _, h := range rows {
			if h.lastSeen+tx.gap <= limit {
				continue
			}
			a, err := decodeAnswer(h.value)
			if err != nil {
				return err
			}
			for _, addr := range a.addrs {
				delete(addrs, addr)
			}
		}
		if len(rows) == maxRows {
			continue // there may be more rows: an entry too many does no harm
		}
		for addr := range addrs {
			if err := tx.bucket(bucketAddrs).Delete(appendName(appendAddr(nil, addr), name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// compact writes the file anew if that gives back enough.
func (db *DB) compact(ctx context.Context) (done bool, err error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if err := db.usable(); err != nil {
		return false, err
	}
	if err := ctx.Err(); err != nil {
		return false, err
	}
	defer guard(&err, &db.broken)()
	var size, free int64
	if err := db.bolt.View(func(tx *bolt.Tx) error {
		size, free = space(tx)
		return nil
	}); err != nil {
		return false, err
	}
	if free < compactMin || free < size/compactShare {
		return false, nil
	}
	temp := db.path + compactSuffix
	if err := os.Remove(temp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return false, err
	}
	// It is locked before it gets the name, so that nobody can come in between.
	f, err := lockedFile(temp, os.O_RDWR|os.O_CREATE, time.Now())
	if err != nil {
		return false, err
	}
	b, err := openBolt(f, true)
	if err != nil {
		return false, errors.Join(err, os.Remove(temp))
	}
	if err := errors.Join(bolt.Compact(b, db.bolt, compactTx), b.Sync()); err != nil {
		return false, errors.Join(err, b.Close(), os.Remove(temp))
	}
	b.NoSync = db.opts.noSync
	if err := os.Rename(temp, db.path); err != nil {
		return false, errors.Join(err, b.Close(), os.Remove(temp))
	}
	old := db.bolt
	db.bolt, db.file = b, f
	return true, errors.Join(syncDir(db.path), old.Close())
}
