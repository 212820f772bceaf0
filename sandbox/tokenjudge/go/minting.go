package main

import (
	"encoding/json"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// mint makes a token with go-jose, with which SPIRE signs its JWT-SVIDs.
// go-jose's own types encode the registered claims.
func mint(q question) (answer, error) {
	var key jose.JSONWebKey
	if err := key.UnmarshalJSON(q.Key); err != nil {
		return answer{}, err
	}
	var registered jwt.Claims
	if err := json.Unmarshal(q.Claims, &registered); err != nil {
		return answer{}, err
	}
	var all map[string]any
	if err := json.Unmarshal(q.Claims, &all); err != nil {
		return answer{}, err
	}
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.ES256, Key: key},
		(&jose.SignerOptions{}).WithType(jose.ContentType(q.Type)),
	)
	if err != nil {
		return answer{}, err
	}
	token, err := jwt.Signed(signer).Claims(all).Claims(registered).Serialize()
	if err != nil {
		return answer{}, err
	}
	return answer{Token: token}, nil
}
