/** What a payee has at risk with a payer, base units. */
export interface AtRisk {
  /** Recorded or being served, less what halves admit: `PayeeLedger.exposure`. */
  readonly exposure: number;
  /** Served and never to be recorded. */
  readonly spoilt: number;
  /** Accepted as payer without having been asked for. */
  readonly unasked: number;
}

/** Whether all that is at risk passes the credit: the one number that bounds what an honest side can lose. */
export const isOverCredit = ({ exposure, spoilt, unasked }: AtRisk, credit: number): boolean =>
  exposure + spoilt + unasked > credit;
