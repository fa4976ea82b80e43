package kafka

import "github.com/minecanary/minecanary/enrich"

var (
	_ enrich.Sink        = (*Sink)(nil)
	_ enrich.VerdictSink = (*Sink)(nil)
)
