package accounts

import (
	"context"
	"log/slog"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// How many refusals are logged: so many at once, then one more in every stretch. The rest is counted.
const (
	refusedBurst = 20
	refusedEvery = 5 * time.Second
)

// refusals tells the log of logins and tokens that were refused: never a secret, and not more than a log can bear.
type refusals struct {
	log *slog.Logger
	now func() time.Time

	mu   sync.Mutex
	pace *rate.Limiter
	left int // were not told since the last that was
}

func newRefusals(log *slog.Logger, now func() time.Time) *refusals {
	return &refusals{log: log, now: now, pace: rate.NewLimiter(rate.Every(refusedEvery), refusedBurst)}
}

// tell logs one, of a token or else of a login; name is whose it claims or is known to be, in whatever bytes.
func (r *refusals) tell(token bool, name, reason string, from netip.Addr) {
	if r.log == nil {
		return
	}
	r.mu.Lock()
	if !r.pace.AllowN(r.now(), 1) {
		r.left++
		r.mu.Unlock()
		return
	}
	left := r.left
	r.left = 0
	r.mu.Unlock()
	attrs := []slog.Attr{slog.String("address", from.String()), slog.String("reason", reason)}
	if name != "" {
		attrs = append(attrs, slog.String("name", quoted(name)))
	}
	if left > 0 {
		attrs = append(attrs, slog.Int("not_logged", left))
	}
	if token {
		r.log.LogAttrs(context.Background(), slog.LevelWarn, "a token was refused", attrs...)
	} else {
		r.log.LogAttrs(context.Background(), slog.LevelWarn, "a login was refused", attrs...)
	}
}

// quoted makes a name of somebody else printable and short: one that can be a name is there as a whole.
func quoted(name string) string {
	if len(name) > MaxName {
		name = name[:MaxName] + "…"
	}
	return strconv.QuoteToASCII(name)
}
