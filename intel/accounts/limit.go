package accounts

import (
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// maxNetworks is how many networks the limiter remembers. One that was not heard of for a while is forgotten; should so
	// many be busy at once, the others share one turn.
	maxNetworks = 10_000
	// sweepEvery is how often at most a full table is searched for networks to forget.
	sweepEvery = time.Second
)

// LimiterOptions say how much is let through.
type LimiterOptions struct {
	// Rate is the requests a second from one network (an IPv4 address, an IPv6 /64), Burst how many may come at once. Rate
	// is positive, Burst at least 1.
	Rate  float64
	Burst int
	// Remote gives the address a request came from; nil means that of the connection.
	Remote func(*http.Request) netip.Addr
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Limiter bounds how often one network may ask. It is safe for concurrent use.
type Limiter struct {
	opts LimiterOptions

	mu    sync.Mutex
	rows  map[netip.Prefix]*rate.Limiter
	rest  *rate.Limiter
	swept time.Time
}

// NewLimiter makes a limiter. A rate that is not positive lets nothing through but the burst.
func NewLimiter(opts LimiterOptions) *Limiter {
	if opts.Remote == nil {
		opts.Remote = Remote
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	opts.Rate, opts.Burst = max(opts.Rate, 0), max(opts.Burst, 1)
	return &Limiter{opts: opts, rows: map[netip.Prefix]*rate.Limiter{}, rest: rate.NewLimiter(rate.Limit(opts.Rate), opts.Burst)}
}

// Middleware answers 429 with Retry-After to who asks too often.
func (l *Limiter) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if wait := l.take(network(l.opts.Remote(r))); wait > 0 {
			w.Header().Set("Retry-After", RetryAfter(wait))
			Problem(w, http.StatusTooManyRequests, "too many requests from this network")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// RetryAfter gives a time in the form of the header Retry-After: whole seconds, rounded up, at least 1.
func RetryAfter(wait time.Duration) string {
	return strconv.FormatFloat(max(1, math.Ceil(wait.Seconds())), 'f', 0, 64)
}

// take takes the turn of a network, or tells how long until it has one.
func (l *Limiter) take(net netip.Prefix) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.opts.Now()
	row := l.rows[net]
	if row == nil {
		row = l.admit(net, now)
	}
	if row.AllowN(now, 1) {
		return 0
	}
	if l.opts.Rate == 0 {
		return time.Hour
	}
	return time.Duration(math.Ceil((1 - row.TokensAt(now)) / l.opts.Rate * float64(time.Second)))
}

// admit gives the bucket of a network that has none.
func (l *Limiter) admit(net netip.Prefix, now time.Time) *rate.Limiter {
	if len(l.rows) >= maxNetworks && now.Sub(l.swept) >= sweepEvery {
		l.swept = now
		for k, row := range l.rows {
			if row.TokensAt(now) >= float64(l.opts.Burst) { // as good as new
				delete(l.rows, k)
			}
		}
	}
	if len(l.rows) >= maxNetworks {
		return l.rest
	}
	row := rate.NewLimiter(rate.Limit(l.opts.Rate), l.opts.Burst)
	l.rows[net] = row
	return row
}
