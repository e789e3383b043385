package interop

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/minio/kms-go/kes"
)

func TestAPolicyIsReadWithItsRules(t *testing.T) {
	policy, err := connect(t, adminKey).GetPolicy(background(t), "my-app")
	ok(t, err)
	equal(t, "denied", maps.Equal(policy.Deny, map[string]kes.Rule{
		"/v1/key/decrypt/my-app-sealed-*": {},
		"/v1/key/delete/*":                {},
	}), true)
	for _, rule := range []string{"/v1/key/create/my-app-*", "/v1/key/list/my-app-*", "/v1/key/delete/my-app-*"} {
		if _, isAllowed := policy.Allow[rule]; !isAllowed {
			t.Errorf("%s is not among the rules", rule)
		}
	}
	equal(t, "CreatedBy", policy.CreatedBy, adminKey.Identity())
	during(t, "CreatedAt", policy.CreatedAt, time.Now().Add(-time.Hour), time.Now())
}

func TestAPolicyIsDescribedWithItsMaker(t *testing.T) {
	info, err := connect(t, adminKey).DescribePolicy(background(t), "my-app")
	ok(t, err)
	equal(t, "Name", info.Name, "my-app")
	equal(t, "CreatedBy", info.CreatedBy, adminKey.Identity())
	during(t, "CreatedAt", info.CreatedAt, time.Now().Add(-time.Hour), time.Now())
}

func TestAnAbsentPolicyIsTheSDKsOwnError(t *testing.T) {
	admin := connect(t, adminKey)
	_, err := admin.DescribePolicy(background(t), "absent")
	wants(t, err, kes.ErrPolicyNotFound)
	_, err = admin.GetPolicy(background(t), "absent")
	wants(t, err, kes.ErrPolicyNotFound)
}

func TestPoliciesAreListedByPrefix(t *testing.T) {
	admin := connect(t, adminKey)
	for prefix, want := range map[string][]string{
		"":         {"logs", "my-app", "my-other"},
		"my-":      {"my-app", "my-other"},
		"my-*":     {"my-app", "my-other"},
		"my-app":   {"my-app"},
		"my-apple": {},
	} {
		names, next, err := admin.ListPolicies(background(t), prefix, -1)
		ok(t, err)
		equal(t, "continue at", next, "")
		if !slices.Equal(names, want) {
			t.Errorf("%q: got %v, want %v", prefix, names, want)
		}
		list := kes.ListIter[string]{NextFunc: admin.ListPolicies}
		equal(t, "iterated", slices.Equal(all(t, &list, prefix), want), true)
	}
}

func TestAnIdentityIsDescribedWithItsPolicy(t *testing.T) {
	info, err := connect(t, adminKey).DescribeIdentity(background(t), appKey.Identity())
	ok(t, err)
	equal(t, "Identity", info.Identity, appKey.Identity())
	equal(t, "Policy", info.Policy, "my-app")
	equal(t, "IsAdmin", info.IsAdmin, false)
	equal(t, "CreatedBy", info.CreatedBy, adminKey.Identity())
	during(t, "CreatedAt", info.CreatedAt, time.Now().Add(-time.Hour), time.Now())
}

func TestTheAdminIsDescribedAsSuch(t *testing.T) {
	info, err := connect(t, adminKey).DescribeIdentity(background(t), adminKey.Identity())
	ok(t, err)
	equal(t, "Policy", info.Policy, "")
	equal(t, "IsAdmin", info.IsAdmin, true)
}

func TestAnUnknownIdentityIsTheSDKsOwnError(t *testing.T) {
	admin := connect(t, adminKey)
	for _, identity := range []kes.Identity{stranger(t).Identity(), "0000"} {
		_, err := admin.DescribeIdentity(background(t), identity)
		wants(t, err, kes.ErrIdentityNotFound)
	}
}

func TestEverybodyLearnsWhoHeIs(t *testing.T) {
	nobody := stranger(t)
	for _, who := range []struct {
		name    string
		key     kes.APIKey
		policy  string
		isAdmin bool
	}{
		{"the admin", adminKey, "", true},
		{"an application", appKey, "my-app", false},
		{"a stranger", nobody, "", false},
	} {
		t.Run(who.name, func(t *testing.T) {
			info, policy, err := connect(t, who.key).DescribeSelf(background(t))
			ok(t, err)
			equal(t, "Identity", info.Identity, who.key.Identity())
			equal(t, "Policy", info.Policy, who.policy)
			equal(t, "IsAdmin", info.IsAdmin, who.isAdmin)
			if who.policy == "" {
				equal(t, "number of rules", len(policy.Allow)+len(policy.Deny), 0)
				return
			}
			want, err := connect(t, adminKey).GetPolicy(background(t), who.policy)
			ok(t, err)
			equal(t, "allowed", maps.Equal(policy.Allow, want.Allow), true)
			equal(t, "denied", maps.Equal(policy.Deny, want.Deny), true)
		})
	}
}

func TestACertificateOfTheCommandLineIsAnIdentity(t *testing.T) {
	info, _, err := withCertificate(t).DescribeSelf(background(t))
	ok(t, err)
	equal(t, "Identity", info.Identity, certIdentity)
	equal(t, "Policy", info.Policy, "logs")
}

func TestIdentitiesAreListedWithTheAdmin(t *testing.T) {
	admin := connect(t, adminKey)
	want := []kes.Identity{adminKey.Identity(), appKey.Identity(), certIdentity}
	slices.Sort(want)
	got, next, err := admin.ListIdentities(background(t), "", -1)
	ok(t, err)
	equal(t, "continue at", next, "")
	equal(t, "listed", slices.Equal(got, want), true)

	list := kes.ListIter[kes.Identity]{NextFunc: admin.ListIdentities}
	equal(t, "iterated", slices.Equal(all(t, &list, ""), want), true)

	one, _, err := admin.ListIdentities(background(t), appKey.Identity().String()[:20], -1)
	ok(t, err)
	equal(t, "by prefix", slices.Equal(one, []kes.Identity{appKey.Identity()}), true)
}
