package app

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// catalogueFilesEvery is how often the operator's catalogue files are looked at.
const catalogueFilesEvery = 10 * time.Second

// stampOf tells versions of files apart, and of the files in folders: by their names, sizes and times.
func stampOf(paths []string) string {
	var b strings.Builder
	for _, path := range paths {
		// What cannot be looked at has a stamp of its own; why is told when it is read.
		_ = filepath.WalkDir(path, func(name string, entry fs.DirEntry, err error) error {
			if err != nil {
				fmt.Fprintf(&b, "%s: %v\n", name, err)
				return nil
			}
			if info, err := os.Stat(name); err == nil && !entry.IsDir() {
				fmt.Fprintf(&b, "%s %d %d\n", name, info.Size(), info.ModTime().UnixNano())
			}
			return nil
		})
	}
	return b.String()
}

// followFiles puts new versions of catalogue.files to use, until the context ends. One that cannot be read changes nothing;
// of one with bad rows the others count, as at the start.
func (d *directory) followFiles(ctx context.Context, interval time.Duration, warn func(error)) error {
	files := d.cfg.Catalogue.Files
	if len(files) == 0 {
		return nil
	}
	seen := d.filesSeen
	return every(ctx, interval, func() {
		now := stampOf(files)
		if now == seen {
			return
		}
		seen = now
		layers, err := catalogueLayers(files, warn)
		if err != nil {
			warn(fmt.Errorf("catalogue.files: what was read before holds on: %w", err))
			return
		}
		d.register.Replace(layers...)
	})
}
