// What is known of one customer, as the stream tells it: features, signals, suppressed items, and
// which profile the identifier belongs to.

/** The features of a profile in one row … */
const SNAPSHOT = "profile.snapshot";
/** … and the views of each, with its name in that row: where the row is switched off, they serve. */
const FEATURES = {
  "profile.customer_status": "customer_status",
  "profile.value": "value",
  "profile.purchases": "purchases",
  "profile.recent_views": "recent_views",
  "profile.affinity": "affinity",
  "profile.activity": "activity",
  "cart.state": "cart",
};
const SIGNAL = "signal.cart_abandoned";
const SUPPRESS = "audience.suppress";
/** Which profile an identifier belongs to. */
export const IDENTITY = "identity.assignment";
/** The views that tell of one customer. */
export const VIEWS = [SNAPSHOT, ...Object.keys(FEATURES), SIGNAL, SUPPRESS];
/** What the id of a profile without a user begins with. */
const ANONYMOUS = "anon:";

/** The key of `identity.assignment` that an id stands for: a user's, or `anon:` and a visitor's. */
export function identifierOf(id) {
  const isAnonymous = id.startsWith(ANONYMOUS);
  return { kind: isAnonymous ? "anonymous" : "user", id: isAnonymous ? id.slice(ANONYMOUS.length) : id };
}

/** The fields by which an event names that identifier. */
export function names(id) {
  const identifier = identifierOf(id);
  return { [identifier.kind === "anonymous" ? "anonymousId" : "userId"]: identifier.id };
}

/** An identifier as an id that can be asked for. */
export const idOf = ({ kind, id }) => (kind === "anonymous" ? `${ANONYMOUS}${id}` : id);

/** The parts of the stream that tell of a profile, and of who it is that was asked for. */
export function parts(asked, profileId, views) {
  const features = views.has(SNAPSHOT) ? [SNAPSHOT] : Object.keys(FEATURES);
  const followed = [...features, SIGNAL, SUPPRESS].filter((view) => views.has(view));
  const subs = followed.map((view) => part(view, { profile_id: profileId }));
  return views.has(IDENTITY) ? [part(IDENTITY, identifierOf(asked)), ...subs] : subs;
}

// Written as JSON, which needs no escapes of its own.
const part = (view, key) => `${view}:${JSON.stringify(key)}`;

export class Profile {
  /** `{ features, signals, suppressed }`; `null` until the server has said what is known. */
  state = null;
  /** The profile that the identifier belongs to; `null` where it is one of its own. */
  owner = null;

  /** True where anything at all is known of the customer. */
  get exists() {
    const { features, signals, suppressed } = this.state ?? empty();
    return Object.values(features).some((row) => row !== null) || signals.size > 0 || suppressed.size > 0;
  }

  /** Another profile is followed from now on. */
  forget() {
    this.state = null;
  }

  /** Another identifier is asked for. */
  restart() {
    this.state = null;
    this.owner = null;
  }

  /** Takes a `snapshot` or `changes` message; what was known before stays as it was. */
  take({ event, data }) {
    const isWhole = event === "snapshot" || this.state === null;
    const next = isWhole ? empty() : copy(this.state);
    if (isWhole) {
      this.owner = null;
    }
    for (const { view, key, value } of data.changes) {
      if (view === IDENTITY) {
        this.owner = value?.profile_id ?? null;
      } else if (view === SIGNAL) {
        put(next.signals, key.cart_id, value);
      } else if (view === SUPPRESS) {
        put(next.suppressed, key.item_id, value);
      } else if (view === SNAPSHOT) {
        next.features = value ?? {};
      } else if (FEATURES[view]) {
        next.features[FEATURES[view]] = value;
      }
    }
    this.state = next;
  }
}

/** The state of a customer of whom nothing is known. */
const empty = () => ({ features: {}, signals: new Map(), suppressed: new Map() });

function copy({ features, signals, suppressed }) {
  return { features: { ...features }, signals: new Map(signals), suppressed: new Map(suppressed) };
}

function put(rows, key, value) {
  if (value === null) {
    rows.delete(key);
  } else {
    rows.set(key, value);
  }
}
