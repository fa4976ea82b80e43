package feed

import (
	"math"
	"time"
)

// decaySpeed is the delta of Confidence. Below 1 the value stays high at first and falls steeply towards the end: a pool that
// answered an hour ago is there, one that has not for a day may be gone. 1/2 makes it a parabola: 94 after a quarter of the
// life, 75 after half of it.
const decaySpeed = 0.5

// Confidence tells how far to rely on a proof of the given age whose entry lives for the given time: 100 at the proof, 1 when
// the life is over. The formula is the polynomial one of MISP's decaying models (app/Model/DecayingModelsFormulas/
// Polynomial.php, after "An indicator scoring method for MISP platforms"):
//
//	100 * (1 - (age / life)^(1 / delta))
//
// rounded, with delta decaySpeed. A new proof starts it anew, since the age is that of the last one. A negative age is 0.
func Confidence(age, life time.Duration) int {
	if age <= 0 {
		return 100
	}
	if age >= life {
		return 1
	}
	score := 100 * (1 - math.Pow(float64(age)/float64(life), 1/decaySpeed))
	return max(1, int(math.Round(score)))
}
