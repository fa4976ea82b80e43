//go:build !unix

package app

import "io"

// lockDir does nothing where there are no advisory locks.
func lockDir(string) (io.Closer, error) { return io.NopCloser(nil), nil }
