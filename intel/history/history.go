// Package history remembers, in one file, which addresses a name had and what an endpoint answered: from when to when,
// and since when we know.
//
// What is told are observations of a subject. A name has two tracks: its answers (addresses and the chain of aliases),
// and how looking it up went (the code). An endpoint has two as well: its verdicts (confirmed, node, not-pool), and
// whether it answered at all. A failed lookup says nothing about addresses, and a failed probe nothing about verdicts:
// they are in the other track alone.
//
// Within a track these rules hold, and no others:
//
//   - A value holds from its observation until the next observation of the track, and at most Options.MaxGap after its
//     last one.
//   - Equal observations in a row are one row: it is seen without a break from its first to its last one. They are
//     joined if they are at most MaxGap apart and the newer one was learnt by one transaction with the row, or within
//     MaxGap of what it extends. So an answer "as known at" is the same as if every observation had been kept.
//   - Observations may come late, from imports: they are put into the past, learnt now. One that falls into a stretch
//     that a row was seen without a break changes nothing if it is equal; if it differs it is kept as disputed and
//     listed, but is the answer to no question for a moment in time.
//
// Times are kept to the millisecond. Learnt is the clock of this machine when the observation was written.
//
// The file is a bbolt database. It has no checksums of its own on data, so every value ends with one, and Open and Check
// walk the whole file without trusting it (see Verify): a damaged file is refused and left as it is. One process has the
// file open at a time. What Update has returned for without an error is on the disk.
package history

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Defaults and bounds.
const (
	// DefaultMaxGap is how long a value holds after its last observation: eight sweeps of three hours.
	DefaultMaxGap = 24 * time.Hour
	// DefaultLockTimeout is how long Open waits for another process to close the file.
	DefaultLockTimeout = time.Second
	// MaxSkew is how far in the future an observation may lie: clocks differ a little.
	MaxSkew = 5 * time.Minute

	// mapped is how much of the file is mapped from the start. Growing the map has to wait for whoever reads, a backup
	// for instance; so it is more than a year of history takes. It is address space, not memory.
	mapped = 256 << 20
	// growth is by how much the file grows at a time.
	growth = 1 << 20
	// lockRetry is the pause between two attempts to lock the file.
	lockRetry = 20 * time.Millisecond
	// fileMode is of new files: what is in them tells whom the operator watches.
	fileMode = 0o600
)

// Errors that are wrapped by others.
var (
	// ErrDamaged tells that the file is not what was written. Nothing was changed in it.
	ErrDamaged = errors.New("the history file is damaged")
	// ErrInUse tells that another process has the file open.
	ErrInUse = errors.New("another process has the history file open")
	// ErrInvalid tells that an observation or a document breaks a bound; nothing of it was written.
	ErrInvalid = errors.New("not for the history")
	// ErrClosed tells that the DB was closed, or lost its file when it was compacted.
	ErrClosed = errors.New("the history is closed")
)

// restore says what to do with a damaged file.
const restore = "nothing was changed; put a backup of it in its place, or move it away to begin without a past"

// Options tell how to open a history. The zero value is the default.
type Options struct {
	// MaxGap is how long a value holds after its last observation; 0 is DefaultMaxGap.
	MaxGap time.Duration
	// LockTimeout is how long to wait for another process that has the file open; 0 is DefaultLockTimeout.
	LockTimeout time.Duration
	// Now is the clock; nil is time.Now.
	Now func() time.Time

	// noSync leaves out waiting for the disk, for tests that simulate years.
	noSync bool
}

// DB is an open history. It may be used by several goroutines at once; one writes at a time, readers do not wait.
type DB struct {
	path string
	opts Options

	// mu is held for reading by whoever uses bolt, and for writing to put another file in its place.
	mu   sync.RWMutex
	bolt *bolt.DB // nil after Close
	file *os.File // the file under bolt, which closes it

	// write has a token while somebody writes; it is taken before mu, with a context. bbolt has such a lock of its own, but
	// does not give it back when it fails on a damaged file.
	write chan struct{}
	// broken is set when the file turned out to be damaged while it was in use: bbolt is not asked any more then.
	broken atomic.Bool
}

// Open opens the history in a file; if there is none it makes one (its folder must exist). The whole file is checked
// first. The errors wrap ErrDamaged or ErrInUse, or are those of the file system. An empty file counts as damaged: we
// never leave one. The caller closes the DB.
func Open(path string, opts Options) (*DB, error) {
	if opts.MaxGap <= 0 {
		opts.MaxGap = DefaultMaxGap
	}
	if opts.LockTimeout <= 0 {
		opts.LockTimeout = DefaultLockTimeout
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	db := &DB{path: path, opts: opts, write: make(chan struct{}, 1)}
	deadline := time.Now().Add(opts.LockTimeout)
	_, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		err = create(path, deadline)
	}
	if err == nil {
		err = db.open(deadline)
	}
	if err != nil {
		return nil, fmt.Errorf("open history %s: %w", path, err)
	}
	// A compaction that was killed leaves its copy.
	if err := os.Remove(path + compactSuffix); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, errors.Join(fmt.Errorf("open history %s: %w", path, err), db.Close())
	}
	return db, nil
}

// newSuffix is of the file in which a history begins: it gets its name when it is whole, so that an empty or half file
// under the name itself is always damage.
const newSuffix = ".new"

func create(path string, deadline time.Time) error {
	f, err := lockedFile(path+newSuffix, os.O_RDWR|os.O_CREATE, deadline)
	if err != nil {
		return err
	}
	if _, err := os.Stat(path); err == nil { // somebody else was faster
		return errors.Join(os.Remove(path+newSuffix), f.Close())
	}
	if err := f.Truncate(0); err != nil { // left by a process that was killed
		return errors.Join(err, f.Close())
	}
	b, err := openBolt(f, false)
	if err != nil {
		return err
	}
	err = b.Update(func(tx *bolt.Tx) error {
		for _, name := range buckets {
			if _, err := tx.CreateBucket([]byte{name}); err != nil {
				return err
			}
		}
		about := tx.Bucket([]byte{bucketAbout})
		return put(about, bucketAbout, []byte(keyFormat), []byte{formatVersion})
	})
	if err == nil {
		err = os.Rename(path+newSuffix, path)
	}
	return errors.Join(err, syncDir(path), b.Close())
}

// open locks, checks and opens the file of db.
func (db *DB) open(deadline time.Time) error {
	f, err := lockedFile(db.path, os.O_RDWR, deadline)
	if err != nil {
		return err
	}
	if err := verifyFile(f); err != nil {
		return errors.Join(err, f.Close())
	}
	b, err := openBolt(f, db.opts.noSync)
	if err != nil {
		return err
	}
	db.bolt, db.file = b, f
	err = db.View(func(v *View) error {
		format, err := get(v.bucket(bucketAbout), bucketAbout, []byte(keyFormat))
		if err == nil && (len(format) != 1 || format[0] != formatVersion) {
			err = fmt.Errorf("it has format %x, and this program knows format %d", format, formatVersion)
		}
		return err
	})
	if err != nil {
		return errors.Join(err, db.Close())
	}
	return nil
}

// lockedFile opens a file and locks it against other processes. The file may be replaced by another one while we wait for
// the lock (see Compact): then that one is opened.
func lockedFile(path string, flag int, deadline time.Time) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, flag, fileMode)
		if err != nil {
			return nil, err
		}
		locked, err := tryLock(f)
		if err == nil && locked {
			ours, err1 := f.Stat()
			named, err2 := os.Stat(path)
			if err1 == nil && err2 == nil && os.SameFile(ours, named) {
				return f, nil
			}
		}
		if err == nil && time.Now().After(deadline) {
			err = ErrInUse
		}
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
		time.Sleep(lockRetry)
	}
}

// InUse tells whether another process, or another DB of this one, has the history in a file open. A file that is not there
// is in nobody's use.
func InUse(path string) (bool, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("history: %w", err)
	}
	locked, err := tryLock(f)
	if err := errors.Join(err, f.Close()); err != nil { // which gives the lock back
		return false, fmt.Errorf("history %s: %w", path, err)
	}
	return !locked, nil
}

// openBolt opens the database in a file that was locked and checked, or is empty. It closes the file if it fails.
func openBolt(f *os.File, noSync bool) (b *bolt.DB, err error) {
	defer guard(&err, new(atomic.Bool))()
	b, err = bolt.Open(f.Name(), fileMode, &bolt.Options{
		OpenFile: func(string, int, os.FileMode) (*os.File, error) { return f, nil },
		Timeout:  lockRetry, FreelistType: bolt.FreelistMapType, InitialMmapSize: mapped, NoSync: noSync, NoStatistics: true,
	})
	if err == nil {
		b.AllocSize = growth
	}
	return b, err
}

// guard makes an error of what bbolt does on a file that changes under it: it panics, or touches memory behind the end of
// the file. Then it sets broken. Other panics go on. Use it as: defer guard(&err, &broken)().
func guard(err *error, broken *atomic.Bool) func() {
	old := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(old)
		switch r := recover().(type) {
		case nil:
		case string:
			broken.Store(true)
			*err = fmt.Errorf("%w: %s; %s", ErrDamaged, r, restore)
		case interface{ Addr() uintptr }:
			broken.Store(true)
			*err = fmt.Errorf("%w: it is shorter than it was; %s", ErrDamaged, restore)
		default:
			panic(r)
		}
	}
}

// syncDir makes the name of a new file safe.
func syncDir(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Close closes the file, after those who use it are done. A closed DB answers every call with ErrClosed.
func (db *DB) Close() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.bolt == nil {
		return nil
	}
	b, f := db.bolt, db.file
	db.bolt, db.file = nil, nil
	if db.broken.Load() {
		return errors.Join(unlock(f), f.Close()) // bbolt may wait for itself
	}
	return b.Close()
}

// usable tells why bbolt may not be asked.
func (db *DB) usable() error {
	switch {
	case db.bolt == nil:
		return ErrClosed
	case db.broken.Load():
		return fmt.Errorf("%w: that was found before; %s", ErrDamaged, restore)
	}
	return nil
}

// View calls fn with the state of this moment, which does not change while fn runs. The View and what it hands out as
// bytes are dead afterwards; strings and slices of answers are the caller's. fn must not call methods of db.
func (db *DB) View(fn func(*View) error) (err error) {
	db.mu.RLock()
	defer db.mu.RUnlock()
	if err := db.usable(); err != nil {
		return err
	}
	defer guard(&err, &db.broken)()
	return db.bolt.View(func(tx *bolt.Tx) error { return fn(&View{tx: tx, gap: db.opts.MaxGap.Milliseconds()}) })
}

// startWriting waits until nobody else writes, or until the context ends; stopWriting lets the next one.
func (db *DB) startWriting(ctx context.Context) error {
	select {
	case db.write <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (db *DB) stopWriting() { <-db.write }

// Update calls fn with a transaction: all that fn wrote is on the disk when Update returns nil, and nothing of it if fn
// fails or ctx ends before, also while others write or the file is compacted. All of it is learnt at one time. Waiting for the disk is what costs, so a sweep writes many
// observations at once. fn must not call methods of db.
func (db *DB) Update(ctx context.Context, fn func(*Tx) error) (err error) {
	if err := db.startWriting(ctx); err != nil {
		return err
	}
	defer db.stopWriting()
	db.mu.RLock()
	defer db.mu.RUnlock()
	if err := db.usable(); err != nil {
		return err
	}
	defer guard(&err, &db.broken)()
	return db.bolt.Update(func(tx *bolt.Tx) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		t := &Tx{View: View{tx: tx, gap: db.opts.MaxGap.Milliseconds()}, learnt: db.opts.Now().UnixMilli()}
		if t.learnt < 0 || t.learnt > maxTime {
			return fmt.Errorf("%w: the clock says %s", ErrInvalid, db.opts.Now())
		}
		if err := fn(t); err != nil {
			return err
		}
		return ctx.Err()
	})
}

// Resolved writes one observation (see Tx.Resolved) in a transaction of its own.
func (db *DB) Resolved(ctx context.Context, o Observation) error {
	return db.Update(ctx, func(tx *Tx) error { return tx.Resolved(o) })
}

// Probed writes one observation (see Tx.Probed) in a transaction of its own.
func (db *DB) Probed(ctx context.Context, p Probe) error {
	return db.Update(ctx, func(tx *Tx) error { return tx.Probed(p) })
}
