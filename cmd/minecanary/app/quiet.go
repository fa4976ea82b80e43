package app

import (
	"sync"
	"time"
)

const (
	// quietFor is how long a message that was told is not told again.
	quietFor = time.Minute
	// maxQuiet bounds the messages remembered.
	maxQuiet = 1000
)

// quiet keeps what fails again and again from filling the log.
type quiet struct {
	mu   sync.Mutex
	told map[string]time.Time
}

// tell calls the function unless the same was told a short while ago.
func (q *quiet) tell(what string, say func()) {
	q.mu.Lock()
	now := time.Now()
	last, ok := q.told[what]
	again := ok && now.Sub(last) < quietFor
	if !again {
		if q.told == nil || len(q.told) >= maxQuiet {
			q.told = map[string]time.Time{}
		}
		q.told[what] = now
	}
	q.mu.Unlock()
	if !again {
		say()
	}
}
