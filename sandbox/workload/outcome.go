package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
)

// Layers at which a call can end. An answered call has passed all layers.
const (
	layerNetwork   = "network"   // no connection: Reason is rejected, closed, timeout or an error
	layerHandshake = "handshake" // By is the side that rejected the other, Reason says why
	layerScope     = "scope"     // the server accepts the caller but does not grant the scope
	layerAnswered  = "answered"
)

const (
	byClient = "client"
	byServer = "server"
)

// Reasons at the network layer. The kind of response shows what rejected the connection.
const (
	reasonRejected = "rejected" // an ICMP message: a packet filter rejected it
	reasonClosed   = "closed"   // a reset: no process listens on the port
	reasonTimeout  = "timeout"  // no response
)

// Reasons at the handshake. The server's reasons are the texts of Go for its TLS alerts; the client
// uses the same text for the same cause.
const (
	reasonUnknownAuthority = "unknown certificate authority"
	reasonExpired          = "expired certificate"
	reasonBad              = "bad certificate"
	reasonWrongIdentity    = "wrong identity"
	reasonUndeclared       = "undeclared"   // the caller's identity.json lists no such call
	reasonNoIdentity       = "no identity"  // the caller has no certificate or no ca.crt
	reasonNoTLS            = "no TLS"       // only one side uses TLS
	reasonNotAccepted      = "not accepted" // answer on an open connection after a change
)

// outcome is the outcome of one call. Started is in seconds since 1970, Took in seconds.
type outcome struct {
	Layer     string   `json:"layer"`
	By        string   `json:"by,omitempty"`
	Reason    string   `json:"reason,omitempty"`
	Detail    string   `json:"detail,omitempty"`
	Server    string   `json:"server,omitempty"`    // SPIFFE ID or name in the server's answer
	Authority string   `json:"authority,omitempty"` // key ID of its certificate's issuer, in hex
	Scopes    []string `json:"scopes,omitempty"`
	Started   float64  `json:"started"`
	Took      float64  `json:"took"`
}

func handshake(by, reason string, err error) outcome {
	o := outcome{Layer: layerHandshake, By: by, Reason: reason}
	if err != nil {
		o.Detail = err.Error()
	}
	return o
}

// refusalOf returns the outcome for an error of the handshake, or of the first read after it: in TLS
// 1.3 the client finishes before the server verifies the client's certificate.
func refusalOf(err error) outcome {
	text := err.Error()
	if _, alert, remote := strings.Cut(text, "remote error: tls: "); remote {
		return handshake(byServer, alert, nil)
	}
	var wrong *wrongIdentity
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &wrong):
		return handshake(byClient, reasonWrongIdentity, err)
	case errors.As(err, &unknown):
		return handshake(byClient, reasonUnknownAuthority, err)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return handshake(byClient, reasonExpired, err)
	case errors.As(err, &record):
		return handshake(byClient, reasonNoTLS, err)
	case isVerification(err):
		return handshake(byClient, reasonBad, err)
	case isTimeout(err):
		return outcome{Layer: layerNetwork, Reason: reasonTimeout, Detail: "connected, then silence"}
	}
	return outcome{Layer: layerNetwork, Reason: "error", Detail: text}
}

type wrongIdentity struct{ found, expected string }

func (w *wrongIdentity) Error() string { return "it is " + w.found + ", expected " + w.expected }

type unverified struct{ error }

func (u unverified) Unwrap() error { return u.error }

func isVerification(err error) bool {
	var u unverified
	return errors.As(err, &u)
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
