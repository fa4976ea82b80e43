package sweep

import "context"

// Exchange tells others what waits, and takes in what they told.
func (s *Sweeper) Exchange(ctx context.Context) error { return s.exchange(ctx) }
