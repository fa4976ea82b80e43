package enrich_test

import (
	"testing"
	"time"

	"github.com/minecanary/minecanary/enrich"
	"github.com/minecanary/minecanary/enrich/queuetest"
)

func TestMemoryQueue(t *testing.T) {
	queuetest.Run(t, func(testing.TB) queuetest.Harness {
		now := time.Unix(1e9, 0)
		q := enrich.NewMemoryQueue(queuetest.Lease, func() time.Time { return now })
		return queuetest.Harness{Queue: q, Other: q, Advance: func(d time.Duration) { now = now.Add(d) }}
	})
}
