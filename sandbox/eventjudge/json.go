package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"strconv"
	"unicode/utf8"
)

// limits are what a JSON text may have at most.
type limits struct {
	levels, values int
	fractions      bool
}

// halves are escaped surrogates: a pair, or a half of one. An escaped backslash comes first, so
// that what follows it is no escape.
var halves = regexp.MustCompile(`\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[dD][89a-fA-F][0-9a-fA-F]{2}`)

var whole = regexp.MustCompile(`^-?[0-9]+$`)

// readJSON reads a text that all parsers read alike (RFC 7493).
func readJSON(text []byte, l limits) (any, error) {
	if !utf8.Valid(text) {
		return nil, errors.New("the text is not UTF-8")
	}
	for _, each := range halves.FindAll(text, -1) {
		if len(each) == len(`\u0000`) {
			return nil, errors.New("the text has half of a surrogate pair")
		}
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	value, err := (&reader{decoder, l}).value(0)
	if err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the value")
	}
	return value, nil
}

type reader struct {
	decoder *json.Decoder
	limits  limits
}

func (r *reader) value(level int) (any, error) {
	token, err := r.decoder.Token()
	if err != nil {
		return nil, err
	}
	if r.limits.values--; r.limits.values < 0 {
		return nil, errors.New("there are too many values")
	}
	switch token := token.(type) {
	case json.Number:
		_, err := strconv.ParseFloat(token.String(), 64)
		if err != nil || !r.limits.fractions && !whole.MatchString(token.String()) {
			return nil, errors.New("a number has a fraction, or is too large")
		}
	case json.Delim:
		if level >= r.limits.levels {
			return nil, errors.New("there are too many levels")
		}
		if !r.decoder.More() { // an empty array or object counts as two values
			if r.limits.values--; r.limits.values < 0 {
				return nil, errors.New("there are too many values")
			}
		}
		if token == '{' {
			return r.object(level + 1)
		}
		return r.list(level + 1)
	}
	return token, nil
}

func (r *reader) object(level int) (any, error) {
	members := map[string]any{}
	for r.decoder.More() {
		name, err := r.decoder.Token()
		if err != nil {
			return nil, err
		}
		if _, twice := members[name.(string)]; twice {
			return nil, errors.New("a member is repeated")
		}
		if members[name.(string)], err = r.value(level); err != nil {
			return nil, err
		}
	}
	_, err := r.decoder.Token()
	return members, err
}

func (r *reader) list(level int) (any, error) {
	items := []any{}
	for r.decoder.More() {
		item, err := r.value(level)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	_, err := r.decoder.Token()
	return items, err
}
