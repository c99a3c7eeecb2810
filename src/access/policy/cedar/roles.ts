/**
 * The built-in policies, in Cedar. What stands between the backquotes is plain Cedar: nothing is interpolated, so it
 * can be copied into a `.cedar` file as it is. Each policy's `@id` is what audit rows and refusals call it.
 */
export const BUILT_IN_POLICIES = `
// viewer: looks, never touches.

@id("viewer-read")
permit (principal in Role::"viewer", action in Action::"read", resource);

// operator: changes what runs, once the caller has confirmed; brings in no new code.

@id("operator-read")
permit (principal in Role::"operator", action in Action::"read", resource);

@id("operator-confirmed")
permit (
  principal in Role::"operator",
  action in [Action::"write", Action::"destructive"],
  resource
)
when { context.confirmed };

// admin: writes without being asked; confirms what destroys or deploys.

@id("admin-read")
permit (principal in Role::"admin", action in Action::"read", resource);

// What everybody did is for nobody else to see, unless the site says so.
@id("admin-audit")
permit (principal in Role::"admin", action in Action::"audit", resource);

@id("admin-write")
permit (principal in Role::"admin", action in Action::"write", resource);

@id("admin-confirmed")
permit (
  principal in Role::"admin",
  action in [Action::"destructive", Action::"deploy"],
  resource
)
when { context.confirmed };

// everyone: the server does not change what it runs on or records into, nor lets anybody read its trail.

@id("own-resources")
forbid (
  principal,
  action in [Action::"write", Action::"destructive", Action::"deploy"],
  resource is Resource
)
when { resource.own || resource.hasTag("mcp:self") };

@id("own-log")
forbid (principal, action in Action::"read", resource is Scope)
when { resource.own && resource.type == "logs:log-group" };
`;
