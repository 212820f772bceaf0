package main

import (
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	mostHeaders    = 256
	mostHeaderSize = 512 << 10
	mostAttributes = 64
	mostCharacters = 1024

	bytesOfACharacter = 12 // four bytes of UTF-8, each percent-encoded
)

var longer = map[string]int{
	"source":        2048,
	"dataschema":    2048,
	"dssematerial":  8192,
	"trothtxntoken": 8192,
	"trothchain":    16384,
	"trothorigin":   8192,
	"trothheaders":  262144,
}

var attributeName = regexp.MustCompile(`^[a-z0-9]{1,20}$`)

// binding is how a broker's headers carry attributes.
type binding struct {
	prefix      string
	contentType bool // datacontenttype has a header of its own
	decode      func([]byte) (string, bool)
}

var bindings = map[string]binding{
	"Kafka": {"ce_", true, asText},
	"NATS":  {"ce-", false, percentDecoded},
}

// attributes reads the headers of a message.
func attributes(m message) (map[string]string, *rejection) {
	form, found := bindings[m.binding], map[string]string{}
	size := 0
	for i, each := range m.headers {
		size += utf8.RuneCountInString(each.name) + len(each.value)
		if i >= mostHeaders || size > mostHeaderSize {
			return nil, reject("TooLarge", "more than %d headers or %d bytes", i, size)
		}
		name, ok, r := form.attribute(each.name)
		if r != nil {
			return nil, r
		}
		if !ok {
			continue
		}
		if _, twice := found[name]; twice {
			return nil, reject("Malformed", "%s is there twice", name)
		}
		if len(each.value) == 0 {
			return nil, reject("Malformed", "%s is empty", name)
		}
		most := max(longer[name], mostCharacters)
		if len(each.value) > bytesOfACharacter*most {
			return nil, reject("TooLarge", "%s has %d bytes", name, len(each.value))
		}
		value, ok := form.decode(each.value)
		if !ok {
			return nil, reject("Malformed", "%s has another encoding", name)
		}
		if utf8.RuneCountInString(value) > most {
			return nil, reject("TooLarge", "%s is longer than %d characters", name, most)
		}
		found[name] = value
		if len(found) > mostAttributes {
			return nil, reject("TooLarge", "there are more than %d attributes", mostAttributes)
		}
	}
	return found, nil
}

// attribute returns the attribute that a header carries, if it carries one.
func (b binding) attribute(header string) (string, bool, *rejection) {
	if b.contentType && header == "content-type" {
		return "datacontenttype", true, nil
	}
	if name, ok := strings.CutPrefix(header, b.prefix); ok {
		if !attributeName.MatchString(name) || (b.contentType && name == "datacontenttype") {
			return "", false, reject("Malformed", "the header %q is no attribute's", header)
		}
		return name, true, nil
	}
	plain := strings.ReplaceAll(strings.ToLower(strings.TrimSpace(header)), "_", "-")
	if strings.HasPrefix(plain, "ce-") || (b.contentType && plain == "content-type") {
		return "", false, reject("Malformed", "the header %q has another spelling", header)
	}
	return "", false, nil
}

func asText(value []byte) (string, bool) { return string(value), utf8.Valid(value) }

// percentDecoded decodes a value in its one spelling.
func percentDecoded(value []byte) (string, bool) {
	var decoded []byte
	for i := 0; i < len(value); i++ {
		if value[i] != '%' {
			decoded = append(decoded, value[i])
			continue
		}
		if i+2 >= len(value) {
			return "", false
		}
		one, err := strconv.ParseUint(string(value[i+1:i+3]), 16, 8)
		if err != nil {
			return "", false
		}
		decoded = append(decoded, byte(one))
		i += 2
	}
	return string(decoded), utf8.Valid(decoded) && percentEncoded(decoded) == string(value)
}

func percentEncoded(value []byte) string {
	const digits = "0123456789ABCDEF"
	var out strings.Builder
	for _, one := range value {
		if one <= ' ' || one >= 0x7f || one == '"' || one == '%' {
			out.Write([]byte{'%', digits[one>>4], digits[one&15]})
		} else {
			out.WriteByte(one)
		}
	}
	return out.String()
}
