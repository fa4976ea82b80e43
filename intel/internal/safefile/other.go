//go:build !unix

package safefile

import "os"

const noFollow = 0

// tryLock does nothing where there are no advisory locks.
func tryLock(*os.File) error { return nil }

// adopt does nothing where files have no such owners.
func adopt(*os.File, string) error { return nil }
