import * as z from "zod";
import { ROLE_NAME, ROLES } from "../core/call.ts";
import { readYaml } from "../core/yaml-file.ts";
import type { ClientCertificate } from "./credentials.ts";

const Role = z.string().regex(ROLE_NAME, "not a role's name: a to z, 0 to 9 and -, at most 32");
const Roles = z.array(Role).min(1);
const User = z.string().min(1).max(128);

const CertificateRule = z.union(
  [
    z.strictObject({ subject: z.string().min(1), user: User.optional(), roles: Roles }),
    z.strictObject({
      name: z.string().regex(/^(URI|DNS|email):./, "not a name such as URI:spiffe://example.org/ci, DNS:… or email:…"),
      user: User.optional(),
      roles: Roles,
    }),
  ],
  "not a rule: it has subject or name, perhaps user, and roles",
);
const OauthRule = z.union(
  [
    z.strictObject({ scope: z.string().regex(/^[\x21\x23-\x5b\x5d-\x7e]+$/, "not a scope"), roles: Roles }),
    z.strictObject({ claim: z.string().min(1), value: z.string().min(1), roles: Roles }),
  ],
  "not a rule: it has scope, or claim and value, and roles",
);
type OauthRule = z.output<typeof OauthRule>;

const PrincipalsFile = z
  .strictObject({
    /** Roles besides the built-in ones; they may do what the site's own policies permit. */
    roles: z.array(Role).default([]),
    certificates: z.array(CertificateRule).default([]),
    oauth: z.array(OauthRule).default([]),
  })
  .superRefine((file, context) => {
    const known = new Set<string>([...ROLES, ...file.roles]);
    for (const kind of ["certificates", "oauth"] as const) {
      for (const [index, { roles }] of file[kind].entries()) {
        for (const role of roles) {
          if (!known.has(role))
            context.addIssue({ code: "custom", path: [kind, index, "roles"], message: `there is no role ${role}` });
        }
      }
    }
  });
type PrincipalsFile = z.output<typeof PrincipalsFile>;

/** Who gets which roles. */
export interface Principals {
  /** Every role there is. */
  roles: ReadonlySet<string>;
  /** The user and roles of the first rule that fits; a certificate that none fits is nobody's. */
  ofCertificate(certificate: ClientCertificate): { id: string; roles: readonly string[] } | undefined;
  /** The roles of every rule that fits. */
  ofToken(claims: Readonly<Record<string, unknown>>, scopes: readonly string[]): readonly string[];
  /** The scopes that give a role, in the order of the file, with the roles they give. */
  scopes: readonly { scope: string; roles: readonly string[] }[];
  hasRulesFor: { certificates: boolean; oauth: boolean };
}

/**
 * @param file undefined: the built-in roles, and nobody by token or certificate
 * @throws Error that begins with `<file>:<line>: `
 */
export async function loadPrincipals(file: string | undefined): Promise<Principals> {
  return principalsOf(file === undefined ? PrincipalsFile.parse({}) : await readYaml(file, PrincipalsFile));
}

function principalsOf({ roles, certificates, oauth }: PrincipalsFile): Principals {
  return {
    roles: new Set<string>([...ROLES, ...roles]),
    hasRulesFor: { certificates: certificates.length > 0, oauth: oauth.length > 0 },
    scopes: oauth.flatMap((rule) => ("scope" in rule ? [rule] : [])),
    ofToken: (claims, scopes) => [
      ...new Set(oauth.filter((rule) => fits(rule, claims, scopes)).flatMap((rule) => rule.roles)),
    ],
    ofCertificate(certificate) {
      for (const rule of certificates) {
        const name =
          "subject" in rule
            ? sameName(rule.subject, certificate.subject) && commonName(certificate.subject)
            : certificate.names.find((each) => matches(rule.name, each));
        if (name) return { id: rule.user ?? name.replace(/^(URI|DNS|email):/, ""), roles: rule.roles };
      }
      return undefined;
    },
  };
}

function fits(rule: OauthRule, claims: Readonly<Record<string, unknown>>, scopes: readonly string[]): boolean {
  if ("scope" in rule) return scopes.includes(rule.scope);
  const claim = Object.hasOwn(claims, rule.claim) ? claims[rule.claim] : undefined;
  return Array.isArray(claim) ? claim.includes(rule.value) : claim === rule.value;
}

/** Blanks after the commas of a rule are for reading. */
function sameName(rule: string, subject: string): boolean {
  return rule.replace(/(?<!\\),\s+/g, ",") === subject;
}

function commonName(subject: string): string {
  return /(?:^|(?<!\\),)CN=((?:\\.|[^,\\])+)/.exec(subject)?.[1] ?? subject;
}

/** A `*` at the end of a rule stands for any tail. */
function matches(rule: string, name: string): boolean {
  return rule.endsWith("*") ? name.startsWith(rule.slice(0, -1)) : name === rule;
}
