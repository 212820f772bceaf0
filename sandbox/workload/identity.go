package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// files are the keys and values of an identity's Secret.
type files map[string]string

const (
	certificateFile = "tls.crt"
	keyFile         = "tls.key"
	bundleFile      = "ca.crt"
	documentFile    = "identity.json"
)

var allFiles = []string{certificateFile, keyFile, bundleFile, documentFile}

// document is identity.json: the accepted callers and the declared calls.
type document struct {
	SPIFFEID string `json:"spiffeID"`
	Accepts  []struct {
		SPIFFEID string `json:"spiffeID"`
		Ports    []struct {
			Name   string   `json:"name"`
			Scopes []string `json:"scopes"`
		} `json:"ports"`
	} `json:"accepts"`
	Calls []struct {
		Name     string   `json:"name"`
		SPIFFEID string   `json:"spiffeID"`
		Ports    []string `json:"ports"`
	} `json:"calls"`
}

// accepts returns the scopes of a caller on a port, and whether the caller is accepted there.
func (d *document) accepts(caller, port string) ([]string, bool) {
	for _, peer := range d.Accepts {
		if peer.SPIFFEID != caller {
			continue
		}
		for _, p := range peer.Ports {
			if p.Name == port {
				return p.Scopes, true
			}
		}
	}
	return nil, false
}

// callee returns the expected SPIFFE ID of a service on a port, if a call to it is declared.
func (d *document) callee(name, port string) (string, bool) {
	for _, peer := range d.Calls {
		if peer.Name != name {
			continue
		}
		for _, p := range peer.Ports {
			if p == port {
				return peer.SPIFFEID, true
			}
		}
	}
	return "", false
}

// identity is one state of the files. Missing parts are nil; code that needs one returns an error.
type identity struct {
	certificate *tls.Certificate
	anchors     []*x509.Certificate
	pool        *x509.CertPool
	peers       document
}

// authority returns the key ID of the issuer of this workload's certificate, in hex.
func (id *identity) authority() string {
	if id.certificate == nil {
		return ""
	}
	return authorityOf(id.certificate.Leaf)
}

// authorityOf returns the key ID of a certificate's issuer, in hex.
func authorityOf(certificate *x509.Certificate) string {
	return hex.EncodeToString(certificate.AuthorityKeyId)
}

func parse(f files) (*identity, error) {
	id := &identity{}
	if f[certificateFile] != "" {
		pair, err := tls.X509KeyPair([]byte(f[certificateFile]), []byte(f[keyFile]))
		if err != nil {
			return nil, err
		}
		id.certificate = &pair
	}
	if f[bundleFile] != "" {
		id.pool = x509.NewCertPool()
		for rest := []byte(f[bundleFile]); ; {
			var block *pem.Block
			if block, rest = pem.Decode(rest); block == nil {
				break
			}
			anchor, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", bundleFile, err)
			}
			id.anchors = append(id.anchors, anchor)
			id.pool.AddCert(anchor)
		}
	}
	if f[documentFile] != "" {
		if err := json.Unmarshal([]byte(f[documentFile]), &id.peers); err != nil {
			return nil, fmt.Errorf("%s: %w", documentFile, err)
		}
	}
	return id, nil
}

// GetX509BundleForTrustDomain makes an identity a bundle source for go-spiffe. ca.crt does not assign
// its anchors to trust domains, so each is valid for every domain, as for any reader of that file.
func (id *identity) GetX509BundleForTrustDomain(td spiffeid.TrustDomain) (*x509bundle.Bundle, error) {
	if id.anchors == nil {
		return nil, errors.New("there is no ca.crt")
	}
	return x509bundle.FromX509Authorities(td, id.anchors), nil
}

// verify returns the SPIFFE ID of a peer whose chain go-spiffe accepts.
func (id *identity) verify(chain []*x509.Certificate) (string, error) {
	peer, _, err := x509svid.Verify(chain, id)
	return peer.String(), err
}

// store reads the files again when they have changed. The kubelet swaps a symbolic link, so changed
// files are different files.
type store struct {
	directory string
	mutex     sync.Mutex
	stamp     stamp
	raw       files
	current   *identity
	err       error
	posed     *identity
}

type stamp [4]struct {
	modified time.Time
	size     int64
	file     os.FileInfo
}

func (s *store) load() (*identity, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.posed != nil {
		return s.posed, nil
	}
	s.refresh()
	return s.current, s.err
}

// pose makes the workload serve with these files instead of its own; with nil, with its own again.
func (s *store) pose(f files) error {
	var posed *identity
	if f != nil {
		var err error
		if posed, err = s.with(f); err != nil {
			return err
		}
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.posed = posed
	return nil
}

// with returns the identity after some of its files are replaced.
func (s *store) with(replaced files) (*identity, error) {
	s.mutex.Lock()
	s.refresh()
	merged := files{}
	for _, name := range allFiles {
		merged[name] = s.raw[name]
		if text, given := replaced[name]; given {
			merged[name] = text
		}
	}
	s.mutex.Unlock()
	return parse(merged)
}

// refresh reads the files if they have changed. It reads them again if they change meanwhile,
// because an old certificate and a new key do not match.
func (s *store) refresh() {
	now := s.look()
	if s.current != nil && s.stamp.same(now) {
		return
	}
	for {
		s.stamp, s.raw, s.current, s.err = now, files{}, nil, nil
		for _, name := range allFiles {
			content, err := os.ReadFile(filepath.Join(s.directory, name))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				s.err = err
				return
			}
			s.raw[name] = string(content)
		}
		if now = s.look(); s.stamp.same(now) {
			s.current, s.err = parse(s.raw)
			return
		}
	}
}

func (s *store) look() (now stamp) {
	for i, name := range allFiles {
		if info, err := os.Stat(filepath.Join(s.directory, name)); err == nil {
			now[i].modified, now[i].size, now[i].file = info.ModTime(), info.Size(), info
		}
	}
	return now
}

func (s stamp) same(other stamp) bool {
	for i := range s {
		a, b := s[i], other[i]
		if (a.file == nil) != (b.file == nil) {
			return false
		}
		if a.file != nil && !(os.SameFile(a.file, b.file) && a.size == b.size && a.modified.Equal(b.modified)) {
			return false
		}
	}
	return true
}
