package jsonscan

// Kind is how the value of a field is read.
type Kind uint8

// The kinds. A value of a type its kind does not name is wrong, except that null always means absent.
const (
	// Ignored: the value is passed over. It is the kind of field 0, which all unknown keys have.
	Ignored Kind = iota
	// Presence: any value; only that it is there is kept.
	Presence
	// Text: a string; its content.
	Text
	// Texts: a string, or an array of strings, whose content is joined by commas.
	Texts
	// Token: a string's content, or a number as it is written.
	Token
	// Raw: any value, as it is written.
	Raw
	// Count: a whole number (1.0 and 1e3 are whole).
	Count
	// Seconds: a number of seconds; microseconds, rounded half up.
	Seconds
	// Time: a number after Epoch or a string after Date (or AnyDate); microseconds after 1970.
	Time
	// Bool: true or false; 1 or 0.
	Bool
	// Object: an object, whose members are read by the keys of Field.Object.
	Object
	// Mark: any value; only that it is there is kept. Unlike with Presence, many keys of one line may hold the field.
	Mark
)

// MaxFields is the number of fields a schema may have, with field 0.
const MaxFields = 64

// Field says how a field is read.
type Field struct {
	Kind Kind
	// Object is the number of the object, for Kind Object.
	Object uint8
}

// Member says which key of which object holds a field. Objects have numbers; 0 is the outermost.
type Member struct {
	Object uint8
	Key    string
	Field  uint8
}

// Schema says what is read of a line. It never changes once a Scanner was made of it.
type Schema struct {
	// Fields holds the fields by number; at most MaxFields. The first is {Ignored}.
	Fields []Field
	// Members holds the keys. If several keys of one field are in a line, the one that comes first here counts.
	Members []Member
	// Objects is the number of objects.
	Objects int
}

// Values holds what was read of one line. All sets and arrays are by field number.
type Values struct {
	// Has is the set of fields that are there. The subsets of it: Wrong, of a wrong type; Below, numbers below zero;
	// Above, numbers too large to be held. What is in one of these has no value.
	Has, Wrong, Below, Above uint64
	// Numbers holds counts, times in microseconds, and booleans.
	Numbers [MaxFields]uint64

	spans [MaxFields]span
	text  []byte
}

// span is a part of Values.text.
type span struct{ from, to int32 }

// Reset forgets everything; texts of the line to come are parts of text.
func (v *Values) Reset(text []byte) {
	v.Has, v.Wrong, v.Below, v.Above = 0, 0, 0, 0
	v.text = text
}

// Text gives the text of a field, nothing if the field is not there or of a wrong type. It is a part of memory that is
// used again for the next line.
func (v *Values) Text(field uint8) []byte {
	if (v.Has&^v.Wrong)>>field&1 == 0 {
		return nil
	}
	s := v.spans[field]
	return v.text[s.from:s.to]
}

// SetText makes bytes from to to of the line the text of a field.
func (v *Values) SetText(field uint8, from, to int) {
	v.spans[field] = span{int32(from), int32(to)}
	v.Has |= 1 << field
}

// SetNumber sets the value of a field.
func (v *Values) SetNumber(field uint8, n uint64) {
	v.Numbers[field] = n
	v.Has |= 1 << field
}

// SetWrong makes a field one of a wrong type.
func (v *Values) SetWrong(field uint8) {
	v.Has |= 1 << field
	v.Wrong |= 1 << field
}

// Parse takes the value of a field of kind Count, Seconds or Time that is a number as JSON writes it (see Number).
func (v *Values) Parse(field uint8, kind Kind, b []byte) {
	var n int64
	var r Range
	switch kind {
	case Time:
		n, r = Epoch(b)
	case Seconds:
		n, _, r = Scaled(b, 6)
	default:
		n, r = Whole(b)
	}
	v.setRange(field, n, r)
}

// ParseDate takes the value of a field of kind Time that is a string.
func (v *Values) ParseDate(field uint8, b []byte) {
	n, ok := AnyDate(string(b))
	switch {
	case !ok:
		v.SetWrong(field)
	case n < 0:
		v.setRange(field, 0, Negative)
	default:
		v.setRange(field, n, InRange)
	}
}

func (v *Values) setRange(field uint8, n int64, r Range) {
	v.SetNumber(field, uint64(n))
	switch r {
	case NotWhole:
		v.Wrong |= 1 << field
	case Negative:
		v.Below |= 1 << field
	case TooLarge:
		v.Above |= 1 << field
	}
}

// SetAbove makes a field's number one that is too large.
func (v *Values) SetAbove(field uint8) { v.setRange(field, 0, TooLarge) }
