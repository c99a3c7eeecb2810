import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { temporaryHome } from "./server.ts";

/** A certificate with its key, as text and as files. */
export interface Issued {
  cert: string;
  key: string;
  certFile: string;
  keyFile: string;
}

export interface Wanted {
  /** As `openssl -subj` has it. Default `/CN=<name>`. */
  subject?: string;
  /** Such as `URI:spiffe://example.org/ci,DNS:ci.example.org`. */
  san?: string;
  /** Extended key usage. Default `clientAuth`. */
  usage?: string;
  /** Validity in days from now. Default from -1 to 30. */
  fromDays?: number;
  toDays?: number;
  ca?: boolean;
}

const CONFIG = `
[ca]
default_ca = this
[this]
dir = .
database = index.txt
serial = serial
crlnumber = crlnumber
new_certs_dir = .
certificate = ca.pem
private_key = ca.key
default_md = sha256
default_crl_days = 30
policy = any
unique_subject = no
copy_extensions = none
[any]
countryName = optional
organizationName = optional
organizationalUnitName = optional
commonName = optional
[req]
distinguished_name = none
[none]
[root]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
`;

/** A certificate authority of its own, by openssl. */
export class Authority {
  readonly dir: string;
  #count = 0;

  private constructor() {
    this.dir = join(temporaryHome(), "ca");
    mkdirSync(this.dir);
    writeFileSync(join(this.dir, "ca.cnf"), CONFIG);
    writeFileSync(join(this.dir, "index.txt"), "");
    writeFileSync(join(this.dir, "serial"), "1000\n");
    writeFileSync(join(this.dir, "crlnumber"), "01\n");
  }

  static root(name: string): Authority {
    const authority = new Authority();
    const key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key";
    authority.#openssl(`req -x509 ${key} -days 60 -config ca.cnf -extensions root -out ca.pem -subj`, `/CN=${name}`);
    return authority;
  }

  /** Somebody who signs with the key of a certificate that may not. */
  static under({ cert, key }: Issued): Authority {
    const authority = new Authority();
    writeFileSync(authority.caFile, cert);
    writeFileSync(join(authority.dir, "ca.key"), key);
    return authority;
  }

  /** An authority below this one. */
  intermediate(name: string): Authority {
    return Authority.under(this.issue(name, { ca: true }));
  }

  get caFile(): string {
    return join(this.dir, "ca.pem");
  }

  get ca(): string {
    return readFileSync(this.caFile, "utf8");
  }

  issue(name: string, wanted: Wanted = {}): Issued {
    const { subject = `/CN=${name}`, san, usage = "clientAuth", fromDays = -1, toDays = 30, ca = false } = wanted;
    this.#count += 1;
    const base = `${name.replace(/\W/g, "_")}-${this.#count}`;
    const extensions = ca
      ? ["basicConstraints = critical,CA:TRUE", "keyUsage = critical,keyCertSign,cRLSign"]
      : ["basicConstraints = CA:FALSE", ...(usage ? [`extendedKeyUsage = ${usage}`] : [])];
    if (san) extensions.push(`subjectAltName = ${san}`);
    writeFileSync(join(this.dir, `${base}.ext`), `${extensions.join("\n")}\n`);
    const key = `-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ${base}.key`;
    this.#openssl(`req -new ${key} -config ca.cnf -utf8 -out ${base}.csr -subj`, subject);
    const dates = `-startdate ${asn1Time(fromDays)} -enddate ${asn1Time(toDays)}`;
    this.#openssl(
      `ca -config ca.cnf -batch -notext -preserveDN -utf8 -extfile ${base}.ext ${dates} -in ${base}.csr -out ${base}.pem`,
    );
    return this.#read(base);
  }

  /** A certificate signed by its own key. */
  selfIssued(subject: string): Issued {
    const key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout self.key";
    this.#openssl(`req -x509 ${key} -days 30 -config ca.cnf -out self.pem -subj`, subject);
    return this.#read("self");
  }

  revoke({ certFile }: Issued): void {
    this.#openssl("ca -config ca.cnf -revoke", certFile);
  }

  /** The revocation list of now, good for so many days. */
  crl(toDays = 30): string {
    const dates = `-crl_lastupdate ${asn1Time(Math.min(-1, toDays - 1))} -crl_nextupdate ${asn1Time(toDays)}`;
    this.#openssl(`ca -config ca.cnf -gencrl ${dates} -out crl.pem`);
    return readFileSync(join(this.dir, "crl.pem"), "utf8");
  }

  #read(base: string): Issued {
    const [certFile, keyFile] = [join(this.dir, `${base}.pem`), join(this.dir, `${base}.key`)];
    return { certFile, keyFile, cert: readFileSync(certFile, "utf8"), key: readFileSync(keyFile, "utf8") };
  }

  #openssl(command: string, last?: string): void {
    const args = [...command.split(" "), ...(last === undefined ? [] : [last])];
    execFileSync(process.env.OPENSSL ?? "openssl", args, { cwd: this.dir, stdio: "pipe" });
  }
}

function asn1Time(days: number): string {
  return `${new Date(Date.now() + days * 86_400_000).toISOString().replace(/[-:T]|\.\d+/g, "")}`;
}
