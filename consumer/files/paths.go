package files

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// maxSiblings is the most rotated files of one log that are looked at, the newest.
	maxSiblings = 4096
	// listTries bounds how often a folder is read until two listings agree.
	listTries = 20
	// minDateDigits is how many digits after the stem make a date or time (conn.12:00.log); fewer may as well be the
	// number of a worker that writes now (eve.1.json).
	minDateDigits = 4
	// maxChain is the largest number of logrotate's chain (conn.log.1 is newer than conn.log.2).
	maxChain = 1000
)

func isPattern(path string) bool { return path != Stdin && strings.ContainsAny(path, "*?[") }

// match is a file that was found.
type match struct {
	path, name string // absolute; as given
	pattern    bool   // found by a pattern
	info       fs.FileInfo
}

// expand finds the files of Config.Paths, each once, in order.
func (s *Source) expand() ([]match, error) {
	var found []match
	var errs []error
	paths, ids := map[string]bool{}, map[fileID]bool{}
	add := func(m match) {
		if m.path != Stdin {
			abs, err := filepath.Abs(m.name)
			if err != nil {
				errs = append(errs, missing(m.name, err))
				return
			}
			m.path = abs
		}
		var id fileID
		if m.info != nil {
			id = idOf(m.info)
		}
		if !paths[m.path] && (id == fileID{} || !ids[id]) {
			paths[m.path], ids[id] = true, true
			found = append(found, m)
		}
	}
	for _, p := range s.cfg.Paths {
		if p == Stdin {
			add(match{path: Stdin, name: Stdin})
			continue
		}
		info, err := os.Stat(p)
		switch {
		case err == nil && info.IsDir():
			errs = append(errs, fmt.Errorf("%s %w", p, errDirectory))
		case err == nil:
			add(match{name: p, info: info})
		case errors.Is(err, fs.ErrPermission):
			add(match{name: p}) // told when it is read
		case isPattern(p):
			ms := globFiles(p)
			for _, m := range ms {
				add(m)
			}
			if len(ms) == 0 && !s.cfg.Follow {
				errs = append(errs, fmt.Errorf("%s: %w", p, errNoMatch))
			}
		case s.cfg.Follow && errors.Is(err, fs.ErrNotExist):
			add(match{name: p}) // it may come
		default:
			errs = append(errs, missing(p, err))
		}
	}
	return found, errors.Join(errs...)
}

// globFiles gives what a pattern matches, by name, without directories.
func globFiles(pattern string) []match {
	names, _ := filepath.Glob(pattern) // New has checked the pattern
	slices.Sort(names)
	var found []match
	for _, n := range names {
		info, err := os.Stat(n)
		if err == nil && info.IsDir() {
			continue
		}
		if err != nil && errors.Is(err, fs.ErrNotExist) {
			continue // a link to nothing, or gone since
		}
		found = append(found, match{name: n, pattern: true, info: info})
	}
	return found
}

// plan makes the inputs.
func (s *Source) plan(found []match) {
	s.known.Store(!s.cfg.Follow)
	if !s.cfg.Follow {
		for _, m := range found {
			s.queue = append(s.queue, s.newWhole(m.path, m.name))
			if m.info == nil || !m.info.Mode().IsRegular() {
				s.known.Store(false)
				continue
			}
			s.size.Add(m.info.Size())
		}
		return
	}
	var stdin *whole
	backlog := map[string][]string{}
	for _, m := range found {
		owner := s.ownerOf(m, found)
		switch {
		case m.path == Stdin:
			stdin = s.newWhole(m.path, m.name)
		case owner != "":
			backlog[owner] = append(backlog[owner], m.path)
		case s.readOnce(m):
			s.queue = append(s.queue, s.newWhole(m.path, m.name))
		default:
			s.follow(m)
		}
	}
	if stdin != nil { // last: it may never end
		s.queue = append(s.queue, stdin)
	}
	for _, f := range s.followers {
		f.backlog = backlog[f.path]
		if f.start == nil {
			f.begin() // what is rotated from now on is read
		}
	}
}

// ownerOf gives the path of the log that a file found by a pattern is a rotated part of, if that log is read too and the
// file has no position of its own. Its lines then belong to that log's partition.
func (s *Source) ownerOf(m match, found []match) string {
	owner := ""
	if _, own := s.cfg.Start[m.path]; own || !m.pattern {
		return owner
	}
	dir, base := filepath.Split(m.path)
	for _, o := range found {
		// The log itself has the shortest of the names that fit.
		if len(o.path) < len(m.path) && (owner == "" || len(o.path) < len(owner)) && strings.HasPrefix(o.path, dir) &&
			suffixCompression(o.path) == notCompressed && rotatedName(o.path[len(dir):], base) {
			owner = o.path
		}
	}
	return owner
}

// readOnce tells archives and pipes.
func (s *Source) readOnce(m match) bool {
	if m.info == nil {
		return false
	}
	f, _, c, err := openRegular(m.path)
	if err != nil {
		return errors.Is(err, errNotRegular)
	}
	_ = f.Close() // only looked at
	return c != notCompressed
}

// follow begins to follow a file.
func (s *Source) follow(m match) {
	if len(s.followers) >= MaxFollowed {
		if !s.crowded {
			s.crowded = true
			s.report(m.path, fmt.Errorf("follow %s: more than %d files; it and further ones are left out", m.name, MaxFollowed))
		}
		return
	}
	s.followers = append(s.followers, s.newFollower(m))
}

// rescan matches the patterns again; new files join.
func (s *Source) rescan() {
	defer s.watchAll()
	for _, p := range s.cfg.Paths {
		if !isPattern(p) {
			continue
		}
		for _, m := range globFiles(p) {
			abs, err := filepath.Abs(m.name)
			if err != nil || s.isPartition(abs) {
				continue
			}
			m.path = abs
			if s.isFollowed(m) {
				continue
			}
			if s.readOnce(m) {
				s.queue = append(s.queue, s.newWhole(m.path, m.name))
			} else {
				s.follow(m)
			}
		}
	}
}

// isFollowed tells whether a new name is that of a file that is or was read under another.
func (s *Source) isFollowed(m match) bool {
	for _, f := range s.followers {
		if filepath.Dir(f.path) == filepath.Dir(m.path) && rotatedName(filepath.Base(f.path), filepath.Base(m.path)) {
			return true
		}
		if f.cur != nil && os.SameFile(f.cur.info, m.info) {
			return true
		}
	}
	_, head, err := headOf(m.path)
	if err != nil || len(head) == 0 {
		return false
	}
	if s.seen.has(sumOf(head)) {
		return true
	}
	return slices.ContainsFunc(s.followers, func(f *follower) bool {
		return f.cur != nil && len(f.cur.split.head) > 0 && strings.HasPrefix(string(head), string(f.cur.split.head))
	})
}

// rotatedName tells whether name is one that rotation gives to the log base: conn.log.1, conn.log-20260101.gz,
// conn-20260101.log, conn.12:00:00-13:00:00.log.gz, but not conn_interim.log.
func rotatedName(base, name string) bool {
	plain := strings.TrimSuffix(strings.TrimSuffix(name, ".gz"), ".zst")
	if plain == base {
		return plain != name
	}
	if tail, ok := strings.CutPrefix(plain, base); ok {
		return isStamp(tail, 1) || tail == ".old"
	}
	ext := filepath.Ext(base)
	tail, ok := strings.CutPrefix(plain, strings.TrimSuffix(base, ext))
	if !ok {
		return false
	}
	tail, ok = strings.CutSuffix(tail, ext)
	return ok && isStamp(tail, minDateDigits)
}

// isStamp tells whether s is a separator and then a number, a date or a time.
func isStamp(s string, minDigits int) bool {
	if len(s) < 2 || !strings.ContainsRune(".-_", rune(s[0])) || s[1] < '0' || s[1] > '9' {
		return false
	}
	digits := 0
	for _, c := range s {
		switch {
		case c >= '0' && c <= '9':
			digits++
		case !strings.ContainsRune(".-_:+TZ", c):
			return false
		}
	}
	return digits >= minDigits
}

// sibling is a file that may have been the log once.
type sibling struct {
	path, base string
	rotated    bool // its name says so
	info       fs.FileInfo
	archive    bool
}

// older orders siblings as they were written: by time of modification, then as their names tell.
func older(base string, a, b sibling) int {
	if c := a.info.ModTime().Compare(b.info.ModTime()); c != 0 {
		return c
	}
	return olderName(base, a.base, b.base)
}

// olderName orders the names of rotated files: of logrotate's chain the larger number is older, dates and times ascend,
// and a plain file stands before its archive.
func olderName(base, a, b string) int {
	an, a0 := chainNumber(base, a)
	bn, b0 := chainNumber(base, b)
	if c := cmp.Compare(bn, an); c != 0 {
		return c
	}
	if c := strings.Compare(a0, b0); c != 0 {
		return c
	}
	return strings.Compare(a, b)
}

// chainNumber gives N of base.N, 0 for other names, and the name without an archive's suffix.
func chainNumber(base, name string) (int, string) {
	plain := strings.TrimSuffix(strings.TrimSuffix(name, ".gz"), ".zst")
	n, err := strconv.Atoi(strings.TrimPrefix(plain, base+"."))
	if err != nil || n < 1 || n >= maxChain {
		return 0, plain
	}
	return n, plain
}

// siblings lists the files that may have been the log at path, oldest first. While files are being renamed a listing may
// miss some, so it is taken until two agree. An archive beside the file it is made of is left out: it may be unfinished,
// and what can be had of it so far cannot be told from another file's text.
func (s *Source) siblings(path string) []sibling {
	list := s.listOnce(path)
	for range listTries {
		again := s.listOnce(path)
		if slices.EqualFunc(list, again, func(a, b sibling) bool {
			return a.path == b.path && os.SameFile(a.info, b.info) && a.info.ModTime().Equal(b.info.ModTime())
		}) {
			break
		}
		list = again
		time.Sleep(time.Millisecond)
	}
	plain := map[string]bool{}
	for _, e := range list {
		plain[e.path] = !e.archive
	}
	list = slices.DeleteFunc(list, func(e sibling) bool {
		return e.archive && plain[strings.TrimSuffix(e.path, filepath.Ext(e.path))]
	})
	base := filepath.Base(path)
	slices.SortFunc(list, func(a, b sibling) int { return older(base, a, b) })
	return list[max(0, len(list)-maxSiblings):]
}

func (s *Source) listOnce(path string) []sibling {
	dirs := []string{filepath.Dir(path)}
	for _, p := range s.cfg.Archives {
		more, _ := filepath.Glob(p) // New has checked the pattern
		dirs = append(dirs, more...)
	}
	base := filepath.Base(path)
	stem := strings.TrimSuffix(base, filepath.Ext(base))
	var list []sibling
	for _, dir := range dirs {
		entries, _ := os.ReadDir(dir) // what cannot be listed holds no siblings; opening the file tells why
		for _, e := range entries {
			name := e.Name()
			if !strings.HasPrefix(name, stem) || !e.Type().IsRegular() {
				continue
			}
			p := filepath.Join(dir, name)
			if p == path {
				continue
			}
			info, err := e.Info()
			if err != nil {
				continue // gone since
			}
			list = append(list, sibling{
				path: p, base: name, rotated: rotatedName(base, name), info: info,
				archive: suffixCompression(name) != notCompressed,
			})
		}
	}
	return list
}
