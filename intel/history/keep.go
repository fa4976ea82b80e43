package history

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
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
	// compactTime bounds how long writers wait for the copy, and swapTime how long it waits for readers to take the place of
	// the file. Otherwise the file stays as it is: what is free in it is used again.
	compactTime = 10 * time.Second
	swapTime    = 2 * time.Second
	// swapRetry is the pause between two attempts.
	swapRetry = 5 * time.Millisecond
	// copyFill is how full the copy's pages are: tracks grow at their ends alone.
	copyFill = 0.9
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

// backupSuffix is of the copy that BackupFile makes, which has a dot before its name.
const backupSuffix = ".tmp"

// BackupFile writes a copy of the history as it is at this moment into a file, in place of the one that was there, once it
// is whole and checked. What a process left that was killed meanwhile is written over by the next one.
func (db *DB) BackupFile(path string) (err error) {
	temp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+backupSuffix)
	f, err := lockedFile(temp, os.O_RDWR|os.O_CREATE, time.Now())
	if errors.Is(err, ErrInUse) {
		return fmt.Errorf("back up history to %s: another process does so", path)
	}
	if err != nil {
		return fmt.Errorf("back up history to %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temp) // what counts is the first error
			err = fmt.Errorf("back up history to %s: %w", path, err)
		}
		err = errors.Join(err, f.Close())
	}()
	// Somebody else may have put a link to another file there.
	ours, err := f.Stat()
	if err != nil {
		return err
	}
	if named, err := os.Lstat(temp); err != nil || !os.SameFile(ours, named) {
		return errors.Join(fmt.Errorf("%s is no file", temp), err)
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	if err := errors.Join(db.Backup(f), f.Sync()); err != nil {
		return err
	}
	if err := verifyFile(f); err != nil {
		return err
	}
	return errors.Join(os.Rename(temp, path), syncDir(path))
}

// Check walks the whole file as Open does. The error wraps ErrDamaged. Writers wait meanwhile.
func (db *DB) Check() (err error) {
	db.write <- struct{}{}
	defer db.stopWriting()
	db.mu.RLock()
	defer db.mu.RUnlock()
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
// file is free afterwards the file is written anew beside the old one, which it then replaces; writers wait for that, but not
// longer than about ten seconds.
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

// compact writes the file anew if that gives back enough and does not take too long.
func (db *DB) compact(ctx context.Context) (done bool, err error) {
	if err := db.startWriting(ctx); err != nil {
		return false, err
	}
	defer db.stopWriting()
	defer guard(&err, &db.broken)()
	bounded, cancel := context.WithTimeout(ctx, compactTime)
	defer cancel()
	fresh, f, err := db.copied(bounded)
	if err == nil && fresh != nil {
		bounded, cancel := context.WithTimeout(ctx, swapTime)
		defer cancel()
		err = db.swap(bounded, fresh, f)
	}
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return false, nil
	}
	return err == nil && fresh != nil, err
}

// copied makes a copy beside the file, locked; nil if that would not give back enough. Others read meanwhile, nobody
// writes.
func (db *DB) copied(ctx context.Context) (_ *bolt.DB, f *os.File, err error) {
	db.mu.RLock()
	defer db.mu.RUnlock()
	if err := db.usable(); err != nil {
		return nil, nil, err
	}
	from, err := db.bolt.Begin(false)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, from.Rollback()) }()
	if size, free := space(from); free < compactMin || free < size/compactShare {
		return nil, nil, nil
	}
	temp := db.path + compactSuffix
	if err := os.Remove(temp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, nil, err
	}
	// It is locked before it gets the name, so that nobody can come in between.
	if f, err = lockedFile(temp, os.O_RDWR|os.O_CREATE, time.Now()); err != nil {
		return nil, nil, err
	}
	to, err := openBolt(f, true)
	if err != nil {
		return nil, nil, errors.Join(err, os.Remove(temp))
	}
	if err := refill(ctx, to, from); err != nil {
		return nil, nil, errors.Join(err, to.Close(), os.Remove(temp))
	}
	if err := to.Sync(); err != nil {
		return nil, nil, errors.Join(err, to.Close(), os.Remove(temp))
	}
	return to, f, nil
}

// refill copies all buckets into an empty database, in transactions of compactTx bytes, until the context ends.
func refill(ctx context.Context, to *bolt.DB, from *bolt.Tx) error {
	for _, name := range buckets {
		c := from.Bucket([]byte{name}).Cursor()
		key, value := c.First()
		for begun := false; !begun || key != nil; begun = true {
			if err := ctx.Err(); err != nil {
				return err
			}
			err := to.Update(func(tx *bolt.Tx) error {
				b, err := tx.CreateBucketIfNotExists([]byte{name})
				if err != nil {
					return err
				}
				b.FillPercent = copyFill
				for size := 0; key != nil && size < compactTx; key, value = c.Next() {
					if err := b.Put(key, value); err != nil {
						return err
					}
					size += len(key) + len(value)
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// swap puts a copy in the place of the file once nobody reads, or removes it when the context ends before. Those who come
// to read meanwhile do not wait for those who read already.
func (db *DB) swap(ctx context.Context, fresh *bolt.DB, f *os.File) error {
	temp := db.path + compactSuffix
	for !db.mu.TryLock() {
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), fresh.Close(), os.Remove(temp))
		case <-time.After(swapRetry):
		}
	}
	defer db.mu.Unlock()
	if err := db.usable(); err != nil {
		return errors.Join(err, fresh.Close(), os.Remove(temp))
	}
	fresh.NoSync = db.opts.noSync
	if err := os.Rename(temp, db.path); err != nil {
		return errors.Join(err, fresh.Close(), os.Remove(temp))
	}
	old := db.bolt
	db.bolt, db.file = fresh, f
	return errors.Join(syncDir(db.path), old.Close())
}
