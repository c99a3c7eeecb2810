/** What a fabricated instance has; everything absent is believable. */
export interface FakeInstance {
  id: string;
  state?: string;
  tags?: Readonly<Record<string, string>>;
  stateReason?: string;
  securityGroup?: string;
}

/** An instance id from a number. */
export function fakeId(index: number): string {
  return `i-${index.toString(16).padStart(17, "0")}`;
}

/** `count` running instances, numbered from `first`. */
export function fakeInstances(first: number, count: number): FakeInstance[] {
  return Array.from({ length: count }, (_, index) => {
    const number = first + index;
    return { id: fakeId(number), tags: { Name: `web-${number}`, env: "prod", team: "storefront", service: "web" } };
  });
}

/**
 * EC2's answer to DescribeInstances, `perReservation` instances in each reservation, with all the elements (and so about
 * the 3 KB an instance) of a real one; `bare` ones have an id and a state, for tests that need thousands.
 */
export function describeInstancesXml(
  instances: readonly FakeInstance[],
  options: { nextToken?: string | undefined; perReservation?: number; bare?: boolean } = {},
): string {
  const { nextToken, perReservation = 1, bare = false } = options;
  const reservations: string[] = [];
  for (let at = 0; at < instances.length; at += perReservation) {
    const launched = instances.slice(at, at + perReservation).map(bare ? bareXml : instanceXml);
    reservations.push(
      `<item><reservationId>r-${at.toString(16).padStart(17, "0")}</reservationId><ownerId>123456789012</ownerId><groupSet/><instancesSet>${launched.join("")}</instancesSet></item>`,
    );
  }
  const token = nextToken === undefined ? "" : `<nextToken>${escapeXml(nextToken)}</nextToken>`;
  return `<?xml version="1.0" encoding="UTF-8"?>
<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>8f7724cf-496f-496e-8fe3-5a4be2a5c3c1</requestId><reservationSet>${reservations.join("")}</reservationSet>${token}</DescribeInstancesResponse>`;
}

function bareXml({ id, state = "running" }: FakeInstance): string {
  return `<item><instanceId>${id}</instanceId><instanceState><name>${state}</name></instanceState></item>`;
}

function instanceXml(instance: FakeInstance): string {
  const { id, state = "running", tags = {}, stateReason, securityGroup = "web" } = instance;
  const suffix = id.slice(2);
  const tagSet = Object.entries(tags).map(
    ([key, value]) => `<item><key>${escapeXml(key)}</key><value>${escapeXml(value)}</value></item>`,
  );
  const groups = `<groupSet><item><groupId>sg-${suffix}</groupId><groupName>${escapeXml(securityGroup)}</groupName></item></groupSet>`;
  const reason = stateReason
    ? `<stateReason><code>Client.UserInitiatedShutdown</code><message>${escapeXml(stateReason)}</message></stateReason>`
    : "";
  return `<item><instanceId>${id}</instanceId><imageId>ami-0123456789abcdef0</imageId><instanceState><code>16</code><name>${state}</name></instanceState><privateDnsName>ip-10-0-1-23.ec2.internal</privateDnsName><dnsName>ec2-203-0-113-25.compute-1.amazonaws.com</dnsName><reason/><keyName>deploy</keyName><amiLaunchIndex>0</amiLaunchIndex><productCodes/><instanceType>m7g.large</instanceType><launchTime>2026-01-15T09:00:00.000Z</launchTime><placement><availabilityZone>us-east-1a</availabilityZone><groupName/><tenancy>default</tenancy></placement><monitoring><state>disabled</state></monitoring><subnetId>subnet-0123456789abcdef0</subnetId><vpcId>vpc-0123456789abcdef0</vpcId><privateIpAddress>10.0.1.23</privateIpAddress><ipAddress>203.0.113.25</ipAddress><sourceDestCheck>true</sourceDestCheck>${groups}${reason}<architecture>arm64</architecture><rootDeviceType>ebs</rootDeviceType><rootDeviceName>/dev/xvda</rootDeviceName><blockDeviceMapping><item><deviceName>/dev/xvda</deviceName><ebs><volumeId>vol-${suffix}</volumeId><status>attached</status><attachTime>2026-01-15T09:00:01.000Z</attachTime><deleteOnTermination>true</deleteOnTermination></ebs></item></blockDeviceMapping><virtualizationType>hvm</virtualizationType><clientToken>5d3ea7c2-8a1f-4b46-9a53-9d3c1b2a4f10</clientToken><tagSet>${tagSet.join("")}</tagSet><hypervisor>xen</hypervisor><networkInterfaceSet><item><networkInterfaceId>eni-${suffix}</networkInterfaceId><subnetId>subnet-0123456789abcdef0</subnetId><vpcId>vpc-0123456789abcdef0</vpcId><description/><ownerId>123456789012</ownerId><status>in-use</status><macAddress>02:1b:44:11:3a:b7</macAddress><privateIpAddress>10.0.1.23</privateIpAddress><privateDnsName>ip-10-0-1-23.ec2.internal</privateDnsName><sourceDestCheck>true</sourceDestCheck>${groups}<attachment><attachmentId>eni-attach-${suffix}</attachmentId><deviceIndex>0</deviceIndex><status>attached</status><attachTime>2026-01-15T09:00:00.000Z</attachTime><deleteOnTermination>true</deleteOnTermination><networkCardIndex>0</networkCardIndex></attachment><association><publicIp>203.0.113.25</publicIp><publicDnsName>ec2-203-0-113-25.compute-1.amazonaws.com</publicDnsName><ipOwnerId>amazon</ipOwnerId></association><privateIpAddressesSet><item><privateIpAddress>10.0.1.23</privateIpAddress><privateDnsName>ip-10-0-1-23.ec2.internal</privateDnsName><primary>true</primary></item></privateIpAddressesSet><ipv6AddressesSet/><interfaceType>interface</interfaceType></item></networkInterfaceSet><iamInstanceProfile><arn>arn:aws:iam::123456789012:instance-profile/app/web-server</arn><id>AIPA0123456789EXAMPLE</id></iamInstanceProfile><ebsOptimized>true</ebsOptimized><enaSupport>true</enaSupport><cpuOptions><coreCount>2</coreCount><threadsPerCore>1</threadsPerCore></cpuOptions><capacityReservationSpecification><capacityReservationPreference>open</capacityReservationPreference></capacityReservationSpecification><hibernationOptions><configured>false</configured></hibernationOptions><enclaveOptions><enabled>false</enabled></enclaveOptions><metadataOptions><state>applied</state><httpTokens>required</httpTokens><httpPutResponseHopLimit>2</httpPutResponseHopLimit><httpEndpoint>enabled</httpEndpoint></metadataOptions><platformDetails>Linux/UNIX</platformDetails><usageOperation>RunInstances</usageOperation><usageOperationUpdateTime>2026-01-15T09:00:00.000Z</usageOperationUpdateTime><privateDnsNameOptions><hostnameType>ip-name</hostnameType><enableResourceNameDnsARecord>false</enableResourceNameDnsARecord><enableResourceNameDnsAAAARecord>false</enableResourceNameDnsAAAARecord></privateDnsNameOptions><maintenanceOptions><autoRecovery>default</autoRecovery></maintenanceOptions></item>`;
}

const XML_ENTITIES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;" };

/** Character references for what XML 1.0 can carry no other way; EC2 does the same. */
export function escapeXml(text: string): string {
  return text
    .replace(/[&<>]/g, (character) => XML_ENTITIES[character] ?? character)
    .replace(
      // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the ones meant
      /[\u0000-\u001F\u007F]/g,
      (character) => `&#x${character.charCodeAt(0).toString(16)};`,
    );
}
