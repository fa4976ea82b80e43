// Package score holds the scorers: named functions from an aggregate to points, a threshold, and one line of reason
// per criterion.
package score

import (
	"fmt"
	"sort"

	"github.com/minecanary/minecanary"
)

// Scorer judges aggregates. It has no state and may be used by several goroutines.
type Scorer interface {
	// Name is the scorer's name in configuration and documents.
	Name() string
	// Points are the points of an aggregate without explanation: the hot path. The port is the server's.
	Points(port uint16, a *minecanary.Aggregate) float64
	// Threshold is what it takes to be a suspect worth a probe.
	Threshold() float64
	// Explain gives the same points with every criterion.
	Explain(port uint16, a *minecanary.Aggregate) minecanary.Score
}

// Names lists the scorers.
func Names() []string {
	names := []string{nemeaName, canaryName}
	sort.Strings(names)
	return names
}

// New gives the named scorer; threshold 0 means the scorer's own.
func New(name string, threshold float64) (Scorer, error) {
	switch name {
	case nemeaName:
		if threshold == 0 {
			threshold = NemeaThreshold
		}
		return nemea{threshold}, nil
	case canaryName:
		if threshold == 0 {
			threshold = CanaryThreshold
		}
		return canary{threshold}, nil
	}
	return nil, fmt.Errorf("unknown scorer %q (there are %v)", name, Names())
}
