package config

import (
	"fmt"
	"math"
	"net/netip"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// maxText is the longest text value in bytes.
const maxText = 4096

// EnvPrefix starts the name of every environment variable that sets a key.
const EnvPrefix = "MINECANARY_"

// Size is a number of bytes, written with its unit: 512B, 64KiB, 1MiB, 2GiB.
type Size int64

// sizeUnits in the order in which they are tried.
var sizeUnits = []struct {
	name  string
	bytes int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

// String gives the size in the greatest unit that divides it.
func (s Size) String() string {
	for _, u := range sizeUnits {
		if int64(s)%u.bytes == 0 && (s != 0 || u.bytes == 1) {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.name
		}
	}
	return ""
}

// kind is what a value is, for people and for the schema.
type kind int

const (
	kindText kind = iota
	kindBool
	kindInt
	kindFloat
	kindDuration
	kindSize
	kindPrefix
)

// want says what a value of the kind must be.
func (k kind) want() string {
	switch k {
	case kindBool:
		return "true or false"
	case kindInt:
		return "a whole number"
	case kindFloat:
		return "a number"
	case kindDuration:
		return "a time with its unit (ms, s, m, h), such as 60s"
	case kindSize:
		return "a size with its unit (B, KiB, MiB, GiB), such as 64MiB"
	case kindPrefix:
		return "a network such as 192.0.2.0/24"
	}
	return "text"
}

// field is one key of a configuration tree, bound to a value of it.
type field struct {
	path  string
	value reflect.Value
	list  bool
	kind  kind

	doc, item string
	enum      []string
	min, max  string
	secret    bool
}

// section is a group of keys.
type section struct {
	name, doc string
	fields    []field
}

// item is a value of a field: the field's own, or an element of its list.
type item struct {
	suffix string // "", or [3]
	value  reflect.Value
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	sizeType     = reflect.TypeFor[Size]()
	prefixType   = reflect.TypeFor[netip.Prefix]()
)

// sectionsOf lists the sections of a tree: a struct of structs.
func sectionsOf(tree reflect.Value) []section {
	var out []section
	t := tree.Type()
	for i := range t.NumField() {
		sf := t.Field(i)
		if !sf.IsExported() {
			continue
		}
		s := section{name: sf.Tag.Get("yaml"), doc: sf.Tag.Get("doc")}
		for j := range sf.Type.NumField() {
			s.fields = append(s.fields, fieldOf(s.name, sf.Type.Field(j), tree.Field(i).Field(j)))
		}
		out = append(out, s)
	}
	return out
}

// fieldsOf lists all keys of a tree.
func fieldsOf(tree reflect.Value) []field {
	var out []field
	for _, s := range sectionsOf(tree) {
		out = append(out, s.fields...)
	}
	return out
}

func fieldOf(section string, sf reflect.StructField, v reflect.Value) field {
	f := field{
		path: section + "." + sf.Tag.Get("yaml"), value: v, doc: sf.Tag.Get("doc"), item: sf.Tag.Get("item"),
		min: sf.Tag.Get("min"), max: sf.Tag.Get("max"), secret: sf.Tag.Get("secret") == "true",
	}
	if e := sf.Tag.Get("enum"); e != "" {
		f.enum = strings.Split(e, ",")
	}
	t := sf.Type
	if t.Kind() == reflect.Slice {
		f.list, t = true, t.Elem()
	}
	switch {
	case t == durationType:
		f.kind = kindDuration
	case t == sizeType:
		f.kind = kindSize
	case t == prefixType:
		f.kind = kindPrefix
	case t.Kind() == reflect.Bool:
		f.kind = kindBool
	case t.Kind() == reflect.Float64:
		f.kind = kindFloat
	case t.Kind() == reflect.Int, t.Kind() == reflect.Uint16:
		f.kind = kindInt
	}
	return f
}

// name is the key within its section.
func (f *field) name() string { return f.path[strings.IndexByte(f.path, '.')+1:] }

// env is the environment variable that sets the key.
func (f *field) env() string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(f.path, ".", "_"))
}

// items gives the elements of a list, or the value itself.
func (f *field) items() []item {
	if !f.list {
		return []item{{value: f.value}}
	}
	out := make([]item, f.value.Len())
	for i := range out {
		out[i] = item{suffix: fmt.Sprintf("[%d]", i), value: f.value.Index(i)}
	}
	return out
}

// elemType is the type of one value.
func (f *field) elemType() reflect.Type {
	if f.list {
		return f.value.Type().Elem()
	}
	return f.value.Type()
}

// set stores one value, or the elements of a list; an empty list is nil.
func (f *field) set(values []reflect.Value) {
	if !f.list {
		f.value.Set(values[0])
		return
	}
	if len(values) == 0 {
		f.value.SetZero()
		return
	}
	f.value.Set(reflect.Append(reflect.MakeSlice(f.value.Type(), 0, len(values)), values...))
}

// must says what a value must be.
func (f *field) must() string {
	if len(f.enum) > 0 {
		return "must be " + orList(f.enum)
	}
	return "must be " + f.kind.want()
}

// quoted adds what was found instead, unless it is secret.
func (f *field) quoted(reason, text string) string {
	if f.secret {
		return reason
	}
	if len(text) > 60 {
		text = strings.ToValidUTF8(text[:60], "") + "…"
	}
	return reason + ", not " + strconv.Quote(text)
}

var (
	intForm = regexp.MustCompile(`^[-+]?(0|[1-9][0-9_]*)$`)
	// durationForm is stricter than time.ParseDuration, so that the schema's pattern says the same.
	durationForm = regexp.MustCompile(durationPattern)
	sizeForm     = regexp.MustCompile(sizePattern)
)

const (
	durationPattern = `^-?([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	sizePattern     = `^(0|[1-9][0-9]*)(B|KiB|MiB|GiB)$`
	prefixPattern   = `^[0-9A-Fa-f:.]+(/[0-9]+)?$`
)

// parse reads one value from its text; reason is "" if that worked.
func (f *field) parse(text string) (v reflect.Value, reason string) {
	v = reflect.New(f.elemType()).Elem()
	fail := func() (reflect.Value, string) { return v, f.quoted(f.must(), text) }
	switch f.kind {
	case kindText:
		v.SetString(text)
	case kindBool:
		if text != "true" && text != "false" {
			return fail()
		}
		v.SetBool(text == "true")
	case kindInt:
		if !intForm.MatchString(text) {
			return fail()
		}
		n, err := strconv.ParseInt(strings.ReplaceAll(text, "_", ""), 10, 64)
		if err != nil {
			return fail()
		}
		if v.CanInt() {
			v.SetInt(n)
			break
		}
		if n < 0 || v.OverflowUint(uint64(n)) {
			return v, f.quoted(f.rangeText(), text)
		}
		v.SetUint(uint64(n))
	case kindFloat:
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsInf(n, 0) || math.IsNaN(n) {
			return fail()
		}
		v.SetFloat(n)
	case kindDuration:
		if !durationForm.MatchString(text) {
			return fail()
		}
		d, err := time.ParseDuration(text)
		if err != nil {
			return fail()
		}
		if d%time.Millisecond != 0 {
			return v, f.quoted("must be of whole milliseconds", text)
		}
		v.SetInt(int64(d))
	case kindSize:
		m := sizeForm.FindStringSubmatch(text)
		if m == nil {
			return fail()
		}
		n, err := strconv.ParseInt(m[1], 10, 64)
		for _, u := range sizeUnits {
			if u.name == m[2] {
				if err != nil || n > math.MaxInt64/u.bytes {
					return fail()
				}
				v.SetInt(n * u.bytes)
			}
		}
	case kindPrefix:
		p, reason := parsePrefix(text)
		if reason != "" {
			return v, f.quoted(reason, text)
		}
		v.Set(reflect.ValueOf(p))
	}
	return v, ""
}

// parsePrefix reads a network, or an address as a network of one.
func parsePrefix(s string) (netip.Prefix, string) {
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), ""
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, "must be " + kindPrefix.want()
	}
	if p.Addr().Is4In6() {
		return netip.Prefix{}, "must be an IPv4 network written as such"
	}
	if p.Masked() != p {
		return netip.Prefix{}, "must have no bits beyond its length: " + p.Masked().String()
	}
	return p, ""
}

// check tells what is wrong with a value of the right type; "" for nothing.
func (f *field) check(v reflect.Value) string {
	switch f.kind {
	case kindText:
		return f.checkText(v.String())
	case kindPrefix:
		if p, ok := reflect.TypeAssert[netip.Prefix](v); ok && (!p.IsValid() || p.Bits() == 0) {
			return "must not be every address there is; name the networks"
		}
	case kindFloat:
		if n := v.Float(); !(n >= f.bound(f.min, math.Inf(-1)) && n <= f.bound(f.max, math.Inf(1))) {
			return f.quoted(f.rangeText(), formatValue(f.kind, v))
		}
	case kindInt, kindDuration, kindSize:
		var n float64
		if v.CanInt() {
			n = float64(v.Int())
		} else {
			n = float64(v.Uint())
		}
		if n < f.bound(f.min, math.Inf(-1)) || n > f.bound(f.max, math.Inf(1)) {
			return f.quoted(f.rangeText(), formatValue(f.kind, v))
		}
	}
	return ""
}

// textMax is the most bytes of a text.
func (f *field) textMax() int {
	if n, err := strconv.Atoi(f.max); err == nil {
		return n
	}
	return maxText
}

func (f *field) checkText(s string) string {
	switch {
	case !utf8.ValidString(s):
		return "must be valid UTF-8"
	case strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "must not have a character that cannot be printed"
	case len(s) > maxText:
		return fmt.Sprintf("must not be longer than %d bytes", maxText)
	case f.list && s == "":
		return "must not have an empty element"
	case len(f.enum) > 0:
		if slices.Contains(f.enum, s) {
			return ""
		}
		reason := f.quoted(f.must(), s)
		if near := nearest(s, f.enum); near != "" {
			reason += " (did you mean " + near + "?)"
		}
		return reason
	case f.item == "ascii":
		limit := f.textMax()
		if len(s) > limit || strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) {
			return f.quoted(fmt.Sprintf("must be at most %d bytes of printable ASCII", limit), s)
		}
	case f.item == "listen":
		if reason := checkListen(s); reason != "" {
			return f.quoted(reason, s)
		}
	case f.item == "address":
		if reason := checkAddress(s); reason != "" {
			return f.quoted(reason, s)
		}
	case f.item == "addrport":
		if reason := checkAddrPort(s); reason != "" {
			return f.quoted(reason, s)
		}
	case f.item == "hostport":
		if s == "" {
			return "" // of a list no element is empty
		}
		if reason := checkHostPort(s); reason != "" {
			return f.quoted(reason, s)
		}
	case f.item == "url":
		if reason := checkURL(s); reason != "" {
			return f.quoted(reason, "…") // it may hold a password
		}
	case f.item == "glob":
		if _, err := filepath.Match(s, ""); err != nil {
			return f.quoted("must be a path, with * and ? for any text and any character", s)
		}
	}
	return ""
}

// bound reads a min or max tag in the field's own notation.
func (f *field) bound(tag string, none float64) float64 {
	if tag == "" {
		return none
	}
	limit := *f
	limit.min, limit.max = "", ""
	v, reason := limit.parse(tag)
	switch {
	case reason != "":
		return none
	case v.CanFloat():
		return v.Float()
	case v.CanInt():
		return float64(v.Int())
	}
	return float64(v.Uint())
}

// rangeText says the range, such as "must be from 1s to 1h".
func (f *field) rangeText() string {
	switch {
	case f.max == "":
		return "must be at least " + f.min
	case f.min == "":
		return "must be at most " + f.max
	}
	return "must be from " + f.min + " to " + f.max
}

// formatValue writes one value so that parse reads it again.
func formatValue(k kind, v reflect.Value) string {
	switch k {
	case kindDuration:
		return formatDuration(time.Duration(v.Int()))
	case kindFloat:
		return strconv.FormatFloat(v.Float(), 'f', -1, 64)
	case kindText:
		return v.String()
	}
	return fmt.Sprint(v.Interface())
}

// formatDuration writes whole days in hours and other times in seconds, as the field's configurations do; parse
// refuses what is not of whole milliseconds.
func formatDuration(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d != 0 && d%day == 0:
		return strconv.FormatInt(int64(d/time.Hour), 10) + "h"
	case d%time.Second == 0:
		return strconv.FormatInt(int64(d/time.Second), 10) + "s"
	}
	return strconv.FormatInt(d.Milliseconds(), 10) + "ms"
}

// orList gives "a, b or c".
func orList(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

// nearest finds the word that a slip of the fingers may have meant; "" if none is near.
func nearest(s string, words []string) string {
	best, least := "", 0
	for _, w := range words {
		if d := distance(strings.ToLower(s), w); d <= 1+len(w)/4 && (best == "" || d < least) {
			best, least = w, d
		}
	}
	return best
}

// distance is the number of letters to insert, delete, replace or swap with the next one (optimal string alignment).
func distance(a, b string) int {
	if len(a) > 2*len(b)+2 {
		return len(a)
	}
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			same := 1
			if a[i-1] == b[j-1] {
				same = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+same)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
