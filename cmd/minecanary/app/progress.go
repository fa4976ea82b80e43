package app

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// progressEvery is how often a progress line is drawn anew.
const progressEvery = 200 * time.Millisecond

// progress draws one line on a terminal and wipes it at the end. line tells what to draw; done is the share done, or
// below 0 where it cannot be known.
func progress(w io.Writer, line func() (text string, done float64)) (stop func()) {
	if !terminal(w) {
		return func() {}
	}
	quit := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				_, _ = io.WriteString(w, "\r\x1b[K")
				return
			case <-tick.C:
				text, done := line()
				bar := ""
				if done >= 0 {
					const width = 24
					n := int(min(done, 1) * width)
					bar = fmt.Sprintf("[%s%s] %3.0f %% ", strings.Repeat("=", n), strings.Repeat(" ", width-n), 100*min(done, 1))
				}
				_, _ = fmt.Fprintf(w, "\r\x1b[K%s%s", bar, text)
			}
		}
	})
	return func() {
		close(quit)
		wg.Wait()
	}
}
