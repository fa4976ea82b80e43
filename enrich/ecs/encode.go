package ecs

import "encoding/json"

// Encode gives the JSON of a document, without a newline: the same bytes for every sink. Go's encoder escapes <, > and
// &, control bytes and U+2028, so nothing in it can break a line or a page.
func Encode(doc any) ([]byte, error) { return json.Marshal(doc) }
