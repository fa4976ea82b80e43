package enrich

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/minecanary/minecanary"
)

// Ranked is a suspect as it stands, with its score.
type Ranked struct {
	minecanary.Pair
	// Seen is the stretch with the most points.
	Seen  minecanary.Aggregate
	Score minecanary.Score
	// Verdict is of the endpoint; the zero value if there is none.
	Verdict minecanary.Verdict
}

// MaxBest bounds Best.
const MaxBest = 1000

// Best gives the suspects with the most points, at most n (1 to MaxBest), the best first. It waits until Run has time for
// it, and Run waits while every suspect is looked at: some 100 ns each, so callers remember the answer for a while. The
// error is the context's or the store's.
func (e *Engine) Best(ctx context.Context, n int) ([]Ranked, error) {
	type result struct {
		best []Ranked
		err  error
	}
	answer := make(chan result, 1)
	ask := func(ctx context.Context) {
		best, err := e.rank(ctx, min(max(n, 1), MaxBest))
		answer <- result{best, err}
	}
	select {
	case e.inspect <- ask:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case r := <-answer:
		return r.best, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (e *Engine) rank(ctx context.Context, n int) ([]Ranked, error) {
	var best []Ranked
	order := func(a, b Ranked) int {
		return cmp.Or(cmp.Compare(b.Score.Points, a.Score.Points), a.Compare(b.Pair))
	}
	err := e.store.Each(ctx, nil, func(s *Suspect) bool {
		r := Ranked{Pair: s.Pair}
		r.Score.Points = -1
		for i := range s.Segments {
			a := chain(s.Segments, i, e.cfg)
			if points := e.scorer.Points(s.Server.Port, &a); a.Pure() > 0 && points > r.Score.Points {
				r.Seen, r.Score.Points = a, points
			}
		}
		if r.Score.Points <= 0 {
			return true
		}
		if len(best) == n && order(best[n-1], r) <= 0 {
			return true
		}
		i, _ := slices.BinarySearchFunc(best, r, order)
		best = slices.Insert(best, i, r)
		best = best[:min(len(best), n)]
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("suspects: %w", err)
	}
	for i := range best {
		r := &best[i]
		r.Score = e.scorer.Explain(r.Server.Port, &r.Seen)
		if v, ok, err := e.store.Verdict(ctx, r.Server); err == nil && ok {
			r.Verdict = v
		}
	}
	return best, nil
}
