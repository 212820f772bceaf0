module troth.dev/sandbox/eventjudge

go 1.26

require (
	github.com/go-jose/go-jose/v4 v4.1.5
	github.com/santhosh-tekuri/jsonschema/v6 v6.0.3
	github.com/secure-systems-lab/go-securesystemslib v0.11.0
	github.com/spiffe/go-spiffe/v2 v2.9.0
)

require (
	golang.org/x/crypto v0.50.0 // indirect
	golang.org/x/sys v0.43.0 // indirect
	golang.org/x/text v0.36.0 // indirect
)
