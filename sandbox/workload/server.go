package main

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"sync/atomic"
	"time"
)

const (
	handshakeSeconds = 5 * time.Second
	idleSeconds      = 10 * time.Minute // longer than a test holds a connection open
	drainSeconds     = 200 * time.Millisecond
)

// Response to TLS on an HTTP port, and to HTTP on a TLS port.
const badRequest = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"

// refusals counts the handshakes that this server has rejected, for control requests.
var refusals atomic.Int64

// reply is the response to a request. Refused is empty, "identity" or "scope".
type reply struct {
	Server  string   `json:"server"`
	Caller  string   `json:"caller,omitempty"`
	Port    string   `json:"port"`
	Scopes  []string `json:"scopes,omitempty"`
	Refused string   `json:"refused,omitempty"`
	Reason  string   `json:"reason,omitempty"`
}

func listen(p port, store *store, secure bool) error {
	listener, err := net.Listen("tcp4", fmt.Sprintf(":%d", p.number))
	if err != nil {
		return err
	}
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				fmt.Println("accept:", err)
				time.Sleep(10 * time.Millisecond) // most likely out of file descriptors
				continue
			}
			if secure {
				go secureConnection(connection, p.name, store)
			} else {
				go plainConnection(connection, p.name)
			}
		}
	}()
	return nil
}

func plainConnection(connection net.Conn, portName string) {
	defer connection.Close()
	name, _ := os.Hostname()
	answer(connection, func(*http.Request) reply { return reply{Server: name, Port: portName} })
}

func secureConnection(connection net.Conn, portName string, store *store) {
	defer connection.Close()
	id, err := store.load()
	if err != nil {
		id = &identity{} // rejects every caller, with an internal error as alert
	}
	caller := ""
	secure := tls.Server(connection, serverConfig(id, portName, &caller))
	_ = secure.SetDeadline(time.Now().Add(handshakeSeconds))
	if err := secure.Handshake(); err != nil {
		refusals.Add(1)
		var record tls.RecordHeaderError
		if errors.As(err, &record) && record.Conn != nil {
			_, _ = io.WriteString(record.Conn, badRequest)
		}
		drain(connection)
		return
	}
	_ = secure.SetDeadline(time.Time{})
	answer(secure, func(request *http.Request) reply {
		// Check each request with the current files, so that a change also applies to open
		// connections.
		now, err := store.load()
		if err == nil && now != id {
			caller, err = now.verify(secure.ConnectionState().PeerCertificates)
		}
		if err != nil {
			return reply{Port: portName, Refused: "identity", Reason: err.Error()}
		}
		return authorize(now, caller, portName, request.URL.Query().Get("scope"))
	})
}

// serverConfig returns a configuration that rejects callers in the handshake. Each cause has its own
// alert: no certificate, an unknown authority, an expired certificate. The alert "bad certificate"
// means that the certificate is no SVID, or that this port does not accept its SPIFFE ID. An accepted
// caller's SPIFFE ID is written to `caller`.
func serverConfig(id *identity, portName string, caller *string) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		CurvePreferences:       curves,
		SessionTicketsDisabled: true, // a resumed session is not verified again
		ClientAuth:             tls.RequireAndVerifyClientCert,
		ClientCAs:              id.pool,
		VerifyConnection: func(state tls.ConnectionState) (err error) {
			if *caller, err = id.verify(state.PeerCertificates); err != nil {
				return err
			}
			if _, accepted := id.peers.accepts(*caller, portName); !accepted {
				return fmt.Errorf("%s is not accepted on %s", *caller, portName)
			}
			return nil
		},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			if id.certificate == nil || id.pool == nil {
				return nil, errors.New("the identity has not been issued yet")
			}
			return id.certificate, nil
		},
	}
}

func authorize(id *identity, caller, portName, scope string) reply {
	r := reply{Server: id.peers.SPIFFEID, Caller: caller, Port: portName}
	scopes, accepted := id.peers.accepts(caller, portName)
	if !accepted {
		r.Refused, r.Reason = "identity", "not accepted any more"
		return r
	}
	r.Scopes = scopes
	if scope != "" && !slices.Contains(scopes, scope) {
		r.Refused, r.Reason = "scope", fmt.Sprintf("%q is not granted", scope)
	}
	return r
}

// answer serves requests until the caller closes the connection.
func answer(connection net.Conn, decide func(*http.Request) reply) {
	reader := bufio.NewReaderSize(connection, 1024)
	for {
		_ = connection.SetReadDeadline(time.Now().Add(idleSeconds))
		request, err := http.ReadRequest(reader)
		if err != nil {
			if !errors.Is(err, io.EOF) {
				_, _ = io.WriteString(connection, badRequest)
			}
			return
		}
		r, status := decide(request), http.StatusOK
		if r.Refused != "" {
			status = http.StatusForbidden
		}
		body, _ := json.Marshal(r)
		_, err = fmt.Fprintf(connection,
			"HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
			status, http.StatusText(status), len(body), body)
		if err != nil {
			return
		}
	}
}

// drain lets the alert reach the caller: closing with an unread request resets the connection.
func drain(connection net.Conn) {
	if tcp, ok := connection.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
	_ = connection.SetReadDeadline(time.Now().Add(drainSeconds))
	_, _ = io.Copy(io.Discard, connection)
}
