package jsonscan

import (
	"encoding/binary"
	"time"
)

const (
	// MaxMicros is the first time that is out of range: 2^32 seconds after 1970, in microseconds.
	MaxMicros = 1 << 32 * second
	second    = 1_000_000
)

// Micros reads a plain decimal number of seconds (no sign, no exponent) at i as microseconds, rounded half up at the
// seventh digit of the fraction, and gives the position after it. It fails on whole parts of more than ten digits.
func Micros(b []byte, i int) (v int64, end int) {
	start := i
	if i+8 <= len(b) {
		if n, values := digitRun(binary.LittleEndian.Uint64(b[i:])); n == 8 {
			v = int64(eight(values))
			i += 8
		} else if n > 0 {
			v = int64(eight(values << ((64 - 8*n) & 63)))
			i += n
		}
	}
	for i < len(b) {
		c := b[i] - '0'
		if c > 9 {
			break
		}
		if i-start == maxSecondDigits {
			return 0, fail
		}
		v = v*10 + int64(c)
		i++
	}
	if n := i - start; n == 0 || n > 1 && b[start] == '0' {
		return 0, fail
	}
	v *= second
	if i >= len(b) || b[i] != '.' {
		return v, i
	}
	i++
	if i+8 > len(b) {
		frac, end := fraction(b, i)
		return v + frac, end
	}
	n, values := digitRun(binary.LittleEndian.Uint64(b[i:]))
	switch {
	case n == 0:
		return 0, fail
	case n < 8:
		values &= 1<<(8*n&63) - 1
		i += n
	default:
		for i += 8; i < len(b) && b[i]-'0' <= 9; {
			i++
		}
	}
	return v + int64(eight(values)+50)/100, i
}

// maxSecondDigits is the number of digits of the whole part Micros reads; MaxMicros has ten.
const maxSecondDigits = 10

var pow10 = [...]int64{1, 10, 100, 1000, 10_000, 100_000, 1_000_000}

// millisFrom is the number of seconds, in microseconds, from which on a number is taken for milliseconds: 10^11, as
// seconds the year 5138, as milliseconds March 1973.
const millisFrom = 1e11 * second

// Epoch reads a number, which must satisfy Number, as a time after 1970 in microseconds: from 10^11 on the number means
// milliseconds, below it seconds (Zeek's TS_MILLIS and TS_EPOCH). The result may be MaxMicros or more.
func Epoch(number []byte) (int64, Range) {
	v, _, r := Scaled(number, 6)
	if r == TooLarge || r == InRange && v >= millisFrom {
		v, _, r = Scaled(number, 3)
	}
	return v, r
}

// Date reads an ISO 8601 time of exactly the shape 2006-01-02T15:04:05, then a fraction or none, then Z, ±0700 or
// ±07:00, as microseconds after 1970, rounded half up. It fails on every other shape, on dates that do not exist, on
// leap seconds, and on times before 1970 or after 2105.
func Date(b []byte) (int64, bool) {
	if len(b) < 20 || b[4] != '-' || b[7] != '-' || b[10] != 'T' || b[13] != ':' || b[16] != ':' {
		return 0, false
	}
	century, ok1 := two(b, 0)
	years, ok2 := two(b, 2)
	month, ok3 := two(b, 5)
	day, ok4 := two(b, 8)
	hour, ok5 := two(b, 11)
	minute, ok6 := two(b, 14)
	sec, ok7 := two(b, 17)
	year := century*100 + years
	digits := ok1 && ok2 && ok3 && ok4 && ok5 && ok6 && ok7
	if !digits || year < 1970 || year > 2105 || month < 1 || month > 12 ||
		day < 1 || day > 28 && day > daysIn(year, month) || hour > 23 || minute > 59 || sec > 59 {
		return 0, false
	}
	v := ((daysTo(year, month, day)*24+hour)*60+minute)*60 + sec
	i := 19
	var frac int64
	if b[i] == '.' {
		var end int
		// A fraction is read as the number 0.xxx; Micros needs the digit before the point.
		frac, end = fraction(b, i+1)
		if end < 0 {
			return 0, false
		}
		i = end
	}
	if i >= len(b) {
		return 0, false
	}
	if b[i] == 'Z' && i+1 == len(b) {
		return v*second + frac, true
	}
	offset, ok := zone(b[i:])
	if v -= offset; !ok || v < 0 {
		return 0, false
	}
	return v*second + frac, true
}

// fraction reads the digits of a fraction as microseconds; the seventh rounds.
func fraction(b []byte, i int) (v int64, end int) {
	first := i
	for i < len(b) && b[i]-'0' <= 9 {
		switch n := i - first; {
		case n < 6:
			v = v*10 + int64(b[i]-'0')
		case n == 6 && b[i] >= '5':
			v++
		}
		i++
	}
	if i == first {
		return 0, fail
	}
	if n := i - first; n < 6 {
		v *= pow10[6-n]
	}
	return v, i
}

// zone reads ±0700 or ±07:00 as seconds east of Greenwich.
func zone(b []byte) (int64, bool) {
	minutesAt := 3
	switch {
	case len(b) == 6 && b[3] == ':':
		minutesAt = 4
	case len(b) != 5:
		return 0, false
	}
	hours, ok1 := two(b, 1)
	minutes, ok2 := two(b, minutesAt)
	if !ok1 || !ok2 || hours > 23 || minutes > 59 {
		return 0, false
	}
	offset := (hours*60 + minutes) * 60
	switch b[0] {
	case '+':
		return offset, true
	case '-':
		return -offset, true
	}
	return 0, false
}

// two reads two digits at i.
func two(b []byte, i int) (int64, bool) {
	h, l := b[i]-'0', b[i+1]-'0'
	return int64(h)*10 + int64(l), h <= 9 && l <= 9
}

// daysBefore is the number of days before a month in a year that is no leap year.
var daysBefore = [...]int64{0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365}

func leap(year int64) bool { return year%4 == 0 && (year%100 != 0 || year%400 == 0) }

func daysIn(year, month int64) int64 {
	n := daysBefore[month] - daysBefore[month-1]
	if month == 2 && leap(year) {
		n++
	}
	return n
}

// daysTo is the number of days from 1970-01-01 to the day; the years are those Date allows.
func daysTo(year, month, day int64) int64 {
	y := year - 1
	leaps := y/4 - y/100 + y/400 - (1969/4 - 1969/100 + 1969/400)
	n := (year-1970)*365 + leaps + daysBefore[month-1] + day - 1
	if month > 2 && leap(year) {
		n++
	}
	return n
}

// dateLayouts are the spellings of a time that AnyDate reads: Zeek's ISO 8601 and Suricata's, whose zone has no colon.
var dateLayouts = [...]string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999-0700"}

// AnyDate reads a time by package time, with all the tolerance that has; it is the reference for Date. The result may
// be negative or beyond MaxMicros.
func AnyDate(s string) (int64, bool) {
	for _, layout := range dateLayouts {
		if t, err := time.Parse(layout, s); err == nil {
			return t.Unix()*second + int64(t.Nanosecond()+500)/1000, true
		}
	}
	return 0, false
}
