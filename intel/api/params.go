package api

import (
	"errors"
	"math"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/intel/catalog"
)

var (
	idForm     = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	symbolForm = regexp.MustCompile(`^[A-Z0-9]{1,12}$`)
	numberForm = regexp.MustCompile(`^[1-9][0-9]{0,4}$`)
	formatForm = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)
	tagsForm   = regexp.MustCompile(`^(\*|(W/)?"[!#-~]*"(, *(W/)?"[!#-~]*")*)$`) // RFC 9110, section 13.1
	nameForm   = regexp.MustCompile(`^[A-Za-z0-9_.:-]{1,254}$`)
)

// params reads several parameters and keeps the first refusal; what is read counts only if there is none.
type params struct {
	*call
	err error
}

func (p *params) keep(err error) {
	if p.err == nil {
		p.err = err
	}
}

// form reads a parameter of a form; "" if it is not there.
func (p *params) form(name string, form *regexp.Regexp) string {
	v, err := p.call.form(name, form)
	p.keep(err)
	return v
}

// text reads a parameter with words of people; "" if it is not there.
func (p *params) text(name string) string {
	v, err := p.call.text(name)
	p.keep(err)
	return v
}

// port reads a parameter that is a port; 0 if it is not there.
func (p *params) port(name string) uint16 {
	n, err := p.number(name, 0, math.MaxUint16)
	p.keep(err)
	return uint16(n)
}

// choice reads a parameter that is one of some words; "" if it is not there.
func choice[T ~string](p *params, name string, words ...T) T {
	v, err := oneOf(p.call, name, words...)
	p.keep(err)
	return v
}

// has tells whether a parameter is there.
func (c *call) has(name string) bool { _, ok := c.query[name]; return ok }

// number reads a parameter from 1 to most; without it, it is otherwise.
func (c *call) number(name string, otherwise, most int) (int, error) {
	if !c.has(name) {
		return otherwise, nil
	}
	if v := c.query.Get(name); numberForm.MatchString(v) {
		if n, err := strconv.Atoi(v); err == nil && n <= most {
			return n, nil
		}
	}
	return 0, problem(http.StatusBadRequest, "%s has to be a number from 1 to %d", name, most)
}

// form reads a parameter of a form; "" if it is not there.
func (c *call) form(name string, form *regexp.Regexp) (string, error) {
	v := c.query.Get(name)
	if c.has(name) && !form.MatchString(v) {
		return "", problem(http.StatusBadRequest, "%s has to match %s", name, form)
	}
	return v, nil
}

// oneOf reads a parameter that is one of some words; "" if it is not there.
func oneOf[T ~string](c *call, name string, words ...T) (T, error) {
	v := T(c.query.Get(name))
	if c.has(name) && !slices.Contains(words, v) {
		texts := make([]string, len(words))
		for i, w := range words {
			texts[i] = string(w)
		}
		return "", problem(http.StatusBadRequest, "%s has to be one of %s", name, strings.Join(texts, ", "))
	}
	return v, nil
}

// text reads a parameter with words of people; "" if it is not there.
func (c *call) text(name string) (string, error) {
	v := c.query.Get(name)
	if c.has(name) && v == "" || len([]rune(v)) > MaxText {
		return "", problem(http.StatusBadRequest, "%s has to be 1 to %d characters", name, MaxText)
	}
	return v, nil
}

// moment reads a parameter that is a time or a day; the zero time if it is not there.
func (c *call) moment(name string) (time.Time, error) {
	if !c.has(name) {
		return time.Time{}, nil
	}
	return parseMoment(name, c.query.Get(name))
}

// parseMoment reads a time, or a day, which is its begin in UTC.
func parseMoment(name, text string) (time.Time, error) {
	if _, err := time.Parse(time.DateOnly, text); err == nil {
		text += "T00:00:00Z"
	}
	t, err := parseTime(name, text)
	if p := (*Problem)(nil); errors.As(err, &p) && p.Status == http.StatusBadRequest {
		p.Detail = name + " has to be a day like 2026-03-03 or a time like 2026-03-03T12:00:00Z"
	}
	return t, err
}

// parseTime reads a time as RFC 3339 has it, in any case, with a leap second, and with the space that an unescaped plus
// becomes in a query.
func parseTime(name, text string) (time.Time, error) {
	s := strings.ToUpper(text)
	if i := len(s) - len(" 01:00"); i > 0 && s[i] == ' ' {
		s = s[:i] + "+" + s[i+1:]
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil && len(s) > 19 && s[16:19] == ":60" {
		if t, err = time.Parse(time.RFC3339, s[:16]+":59"+s[19:]); err == nil {
			t = t.Add(time.Second)
		}
	}
	if err != nil || len(s) > MaxText {
		return time.Time{}, problem(http.StatusBadRequest, "%s has to be a time like 2026-03-03T12:00:00Z", name)
	}
	if t = t.UTC(); t.Year() < 1970 || t.Year() > 9999 {
		return time.Time{}, problem(http.StatusUnprocessableEntity, "%s has to lie between the years 1970 and 9999", name)
	}
	return t, nil
}

// host is the server in the path, in the catalogue's spelling.
func (c *call) host() string {
	host := c.r.PathValue("host")
	if a, err := netip.ParseAddr(host); err == nil {
		return minecanary.CanonicalAddr(a).String()
	}
	return catalog.CanonicalName(host)
}

// endpoint is the endpoint in the path.
func (c *call) endpoint() (minecanary.Endpoint, error) {
	a, err := netip.ParseAddr(c.r.PathValue("address"))
	port := c.r.PathValue("port")
	n, portErr := strconv.ParseUint(port, 10, 16)
	if err != nil || a.Zone() != "" || portErr != nil || !numberForm.MatchString(port) {
		return minecanary.Endpoint{}, problem(http.StatusNotFound, "there is no such endpoint")
	}
	return minecanary.NewEndpoint(a, uint16(n), minecanary.TCP), nil
}
