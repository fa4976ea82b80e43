package files

import (
	"path/filepath"
	"sync"

	"github.com/fsnotify/fsnotify"
)

// maxWatches bounds the folders that are watched; those beyond are polled only.
const maxWatches = 1024

// watcher wakes the reader when something changes in a folder. It may miss changes, and the system may refuse it
// (limits of inotify): then polling does.
type watcher struct {
	w    *fsnotify.Watcher // nil if refused
	dirs map[string]bool
	wg   sync.WaitGroup
}

func newWatcher(notify func()) *watcher {
	w := &watcher{dirs: map[string]bool{}}
	fw, err := fsnotify.NewWatcher()
	if err != nil {
		return w
	}
	w.w = fw
	w.wg.Go(func() {
		for {
			select {
			case _, ok := <-fw.Events:
				if !ok {
					return
				}
			case _, ok := <-fw.Errors: // an overflow: something has changed
				if !ok {
					return
				}
			}
			notify()
		}
	})
	return w
}

// add watches a folder; one that does not exist is tried again at the next call.
func (w *watcher) add(dir string) {
	if w.w == nil || w.dirs[dir] || len(w.dirs) >= maxWatches {
		return
	}
	w.dirs[dir] = w.w.Add(dir) == nil
	if !w.dirs[dir] {
		delete(w.dirs, dir)
	}
}

func (w *watcher) close() {
	if w == nil || w.w == nil {
		return
	}
	_ = w.w.Close() // only fails when closed before
	w.wg.Wait()
	w.w = nil
}

// watchAll watches the folders of all that is followed.
func (s *Source) watchAll() {
	for _, f := range s.followers {
		s.watch.add(filepath.Dir(f.path))
	}
	for _, p := range s.cfg.Paths {
		if isPattern(p) && !isPattern(filepath.Dir(p)) {
			s.watch.add(filepath.Dir(p))
		}
	}
}
