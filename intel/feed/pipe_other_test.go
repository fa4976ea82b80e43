//go:build !unix

package feed_test

import "errors"

func makePipe(string) error { return errors.ErrUnsupported }
