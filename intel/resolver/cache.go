package resolver

import (
	"sync"
	"time"
)

// cache keeps answers until their TTL ends, at most size of them: the oldest gives way.
type cache struct {
	size int

	mu      sync.Mutex
	answers map[string]Answer
	order   []string // a ring of the names in the order in which they came
	oldest  int
}

func newCache(size int) *cache {
	return &cache{size: size, answers: map[string]Answer{}}
}

// get gives the answer of a name if it still holds. The answer shares its slices with the cache.
func (c *cache) get(name string, now time.Time) (Answer, bool) {
	c.mu.Lock()
	a, ok := c.answers[name]
	c.mu.Unlock()
	// A clock that was set back must not keep an answer for longer than its TTL.
	return a, ok && !now.Before(a.At) && now.Before(a.At.Add(a.TTL))
}

// put keeps an answer, whose slices then belong to the cache.
func (c *cache) put(a Answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.answers[a.Name]; !known {
		if len(c.order) < c.size {
			c.order = append(c.order, a.Name)
		} else {
			delete(c.answers, c.order[c.oldest])
			c.order[c.oldest] = a.Name
			c.oldest = (c.oldest + 1) % c.size
		}
	}
	c.answers[a.Name] = a
}
