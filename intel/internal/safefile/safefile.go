// Package safefile writes small files that several processes share: it replaces them atomically and keeps their writers
// apart.
package safefile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	// LockWait is how long Lock waits for another writer.
	LockWait = 5 * time.Second
	// lockPoll is how often it looks. A lock that blocks could not be given up.
	lockPoll = 10 * time.Millisecond

	// Temporary files are named .<file>.<random>.tmp.
	tempPrefix, tempSuffix = ".", ".tmp"

	// openTries bounds how often a file may appear and go while it is opened.
	openTries = 10
)

// ErrLocked is what Lock gives when another writer did not end within LockWait.
var ErrLocked = errors.New("another process writes it")

// Replace puts the data at the path so that a reader, and a machine after a power cut, has the old file or the new one.
// The file is always a new one. It removes what a crash left of earlier calls; so the caller has to hold a lock that
// keeps other writers of this path out. The data is not kept.
func Replace(path string, data []byte, perm fs.FileMode) error {
	if err := removeTemps(path); err != nil {
		return err
	}
	tmp, err := stage(path, data, perm)
	if err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		_ = os.Remove(tmp) // what stays is removed by the next call
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// stage writes the data to a temporary file beside the path and gives its name.
func stage(path string, data []byte, perm fs.FileMode) (name string, err error) {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, tempPrefix+filepath.Base(path)+".*"+tempSuffix)
	if err != nil {
		return "", err
	}
	_, err = tmp.Write(data)
	if err == nil {
		err = tmp.Chmod(perm)
	}
	if err == nil {
		err = adopt(tmp, dir)
	}
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		_ = os.Remove(tmp.Name()) // what stays is removed by the next call
		return "", err
	}
	return tmp.Name(), nil
}

// removeTemps removes the temporary files of a path.
func removeTemps(path string) error {
	dir, name := filepath.Dir(path), filepath.Base(path)
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		if strings.HasPrefix(f.Name(), tempPrefix+name+".") && strings.HasSuffix(f.Name(), tempSuffix) {
			if err := os.Remove(filepath.Join(dir, f.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("remove leftover: %w", err)
			}
		}
	}
	return nil
}

// SyncDir makes the creation and the renaming of files in a folder survive a power cut.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	return errors.Join(err, d.Close())
}

// Open opens a file as os.OpenFile does and makes it if it is missing, then for the owner of the folder if we are root:
// what an administrator starts has to be readable for the service. It follows no link at the path's end, for the same
// reason: the folder may belong to somebody who may do less than we.
func Open(path string, flag int, perm fs.FileMode) (*os.File, error) {
	for range openTries {
		f, err := os.OpenFile(path, flag|noFollow, perm)
		if !errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
		f, err = os.OpenFile(path, flag|os.O_CREATE|os.O_EXCL, perm)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		dir := filepath.Dir(path)
		if err := errors.Join(adopt(f, dir), SyncDir(dir)); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		return f, nil
	}
	return nil, fmt.Errorf("open %s: it comes and goes", path)
}

// Lock makes the file at the path, if it is missing, and locks it, against other processes and within this one; it
// waits LockWait at most and gives ErrLocked then. Closing the file ends the lock; the kernel lets go when the process
// ends, however it does. The file stays: who removed it could let two in.
func Lock(path string) (*os.File, error) {
	f, err := Open(path, os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(LockWait); ; {
		err := tryLock(f)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, ErrLocked) || time.Now().After(end) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
		}
		time.Sleep(lockPoll)
	}
}
