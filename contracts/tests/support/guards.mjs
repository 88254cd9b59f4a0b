// Each guard of the contracts: how to take it out, and the tests that notice.

const gone = (file, from, to = '') => ({ file, from, to });
const channel = (from, to) => gone('pay_channel.tolk', from, to);
const registry = (from, to) => gone('registry.tolk', from, to);
const funds = (from, to) => gone('funds.tolk', from, to);
const keys = (from, to) => gone('weak_keys.tolk', from, to);

const ACCESS = ['pay_channel_access'];
const OPERATIONS = ['pay_channel_operations'];
const VOUCHERS = ['vouchers'];
const VALUE = ['pay_channel_value'];
const PITFALLS = ['pay_channel_pitfalls'];
const PROPERTY = ['pay_channel_property'];
const REGISTRY_ACCESS = ['registry_access'];
const REGISTRY = ['registry_operations'];
const EPOCHS = ['registry_epochs'];

const guard = (name, tests, ...edits) => ({ guard: name, tests, edits });

const DEPOSIT_OPEN = `            assert (st.state == STATE_OPEN) throw ERR_STATE;
            assert (in.valueExtra`;
const START_CLOSE_OPEN = `            assert (st.state == STATE_OPEN) throw ERR_STATE;
            assert (in.senderAddress == terms.payer) throw ERR_NOT_PAYER;
            val keep`;
const SWEEP = `            assert (st.state == STATE_CLOSED) throw ERR_STATE;
            assert (in.senderAddress == terms.payer) throw ERR_NOT_PAYER;`;
const SIGNED = 'isSignatureValid(voucherHash(cumulative), signature as slice, payerKey)';
const NO_BOUNDS = 'assert (valueCoins >= fees + keep - before) throw ERR_LOW_VALUE;';

/** Honours vouchers of another domain or network too. */
const alsoSignedAs = (domain, globalId) => [
  channel('fun voucherHash(cumulative: coins): uint256 {', `fun otherHash(cumulative: coins): uint256 {
    val voucher: Voucher = { domain: ${domain}, globalId: ${globalId}, channel: contract.getAddress(), cumulative };
    return voucher.toCell().hash();
}

@pure
fun voucherHash(cumulative: coins): uint256 {`),
  channel(SIGNED, `${SIGNED} | isSignatureValid(otherHash(cumulative), signature as slice, payerKey)`),
];

export const GUARDS = [
  // Redeploys and the end of a channel.
  guard('the account is never destroyed', PITFALLS,
    channel('    keepExactly(keep - refund);\n'),
    funds('SEND_MODE_CARRY_ALL_BALANCE | SEND_MODE_BOUNCE', 'SEND_MODE_CARRY_ALL_BALANCE | SEND_MODE_DESTROY | SEND_MODE_BOUNCE')),
  guard('closed: no deposit', PITFALLS, channel(DEPOSIT_OPEN, '            assert (in.valueExtra')),
  guard('closed: no redeem', ACCESS, channel('    assert (self.state != STATE_CLOSED) throw ERR_STATE;\n')),
  guard('closing is marked', ACCESS, channel('    self.state = STATE_CLOSED;\n')),
  guard('a closed channel owes nothing', PROPERTY, channel('    self.deposited = self.settled;\n')),
  guard('closing: no deposit', PITFALLS, channel(DEPOSIT_OPEN, DEPOSIT_OPEN.replace('== STATE_OPEN', '!= STATE_CLOSED'))),

  // Vouchers.
  guard('a voucher pays once', VOUCHERS, channel('amount > self.settled', 'amount >= self.settled')),
  guard('an older voucher pays nothing', VOUCHERS, channel('    assert (amount > self.settled) throw ERR_STALE;\n')),
  guard('not above the voucher', VOUCHERS, channel('    assert (amount <= cumulative) throw ERR_ABOVE_VOUCHER;\n')),
  guard('not above the deposit', VOUCHERS, channel('    assert (amount <= self.deposited) throw ERR_AMOUNT;\n')),
  guard('signature', VOUCHERS, channel(`    assert (${SIGNED}) throw ERR_SIGNATURE;\n`)),
  guard('domain', VOUCHERS, ...alsoSignedAs('VOUCHER_DOMAIN + 1', 'globalId()')),
  guard('network', VOUCHERS, ...alsoSignedAs('VOUCHER_DOMAIN', '-3')),
  guard('channel', VOUCHERS, channel('channel: contract.getAddress(),', 'channel: address("0:0000000000000000000000000000000000000000000000000000000000000000"),')),
  guard('settled moves', PROPERTY, channel('    self.settled = amount;\n')),

  // Keys and terms.
  guard('weak keys', VOUCHERS, channel('    assert (!isWeakKey(self.payerKey)) throw ERR_WEAK_KEY;\n')),
  guard('weak keys: zero and identity', VOUCHERS, keys('((tail == 0) & (head <= 1))', 'false')),
  guard('weak keys: identity', VOUCHERS, keys('head <= 1', 'head == 0')),
  guard('weak keys: at and beside the prime', VOUCHERS, keys('((tail == TAIL_NEAR_P) & (head >= 0xec) & (head <= 0xee))', 'false')),
  guard('weak keys: above the prime', VOUCHERS, keys('head <= 0xee', 'head <= 0xed')),
  guard('weak keys: order 8', VOUCHERS, keys('(y == Y_OF_ORDER_8)', 'false')),
  guard('weak keys: order 8, the other', VOUCHERS, keys('(y == MINUS_Y_OF_ORDER_8)', 'false')),
  guard('weak keys: the sign of x', VOUCHERS, keys('key & ~SIGN_OF_X', 'key')),
  guard('close delay', VOUCHERS, channel('    assert (self.closeDelay <= MAX_CLOSE_DELAY) throw ERR_TERMS;\n')),
  guard('payer in the basechain', VOUCHERS, channel('    assert (self.payer.getWorkchain() == BASECHAIN) throw ERR_TERMS;\n')),
  guard('receiver in the basechain', VOUCHERS, channel('    assert (self.receiver.getWorkchain() == BASECHAIN) throw ERR_TERMS;\n')),
  guard('channel in the basechain', VOUCHERS, channel('    assert (contract.getAddress().getWorkchain() == BASECHAIN) throw ERR_TERMS;\n')),

  // Who and when.
  guard('receiver only', ACCESS, channel('    assert (sender == terms.receiver) throw ERR_NOT_RECEIVER;\n')),
  guard('payer only: start', ACCESS, channel(START_CLOSE_OPEN, START_CLOSE_OPEN.replace(/ +assert \(in\.sender.*\n/, ''))),
  guard('start once', PITFALLS, channel(START_CLOSE_OPEN, START_CLOSE_OPEN.replace(/ +assert \(st\.state.*\n/, ''))),
  guard('payer only: sweep', ACCESS, channel(SWEEP, SWEEP.split('\n')[0])),
  guard('sweep when closed', ACCESS, channel(SWEEP, SWEEP.split('\n')[1])),
  guard('finalize when closing', ACCESS, channel('            assert (st.state == STATE_CLOSING) throw ERR_STATE;\n')),
  guard('finalize in time', PITFALLS, channel('            assert (blockchain.now() >= st.closeAt) throw ERR_TOO_EARLY;\n')),
  guard('finalize at close_at', ACCESS, channel('blockchain.now() >= st.closeAt', 'blockchain.now() > st.closeAt')),
  guard('a refund of something', OPERATIONS, channel('(msg.amount > 0) & (msg.amount <= st.unsettled())', 'msg.amount <= st.unsettled()')),
  guard('a refund of what is there', OPERATIONS, channel('(msg.amount > 0) & (msg.amount <= st.unsettled())', 'msg.amount > 0')),
  guard('a deposit of something', OPERATIONS, channel('            assert (amount > 0) throw ERR_LOW_VALUE;\n')),
  guard('no extra currencies', PITFALLS, channel('            assert (in.valueExtra.isEmpty()) throw ERR_EXTRA_CURRENCY;\n')),

  // Who pays.
  guard('the message pays', VALUE, funds(NO_BOUNDS)),
  guard('the message tops the reserve up', VALUE, funds('max(before, least)', 'before')),
  guard('a surplus is kept', OPERATIONS, funds('max(before, least)', 'least')),
  guard('the balance is reserved', PROPERTY,
    funds('    reserveToncoinsOnBalance(keep, RESERVE_MODE_EXACT_AMOUNT | RESERVE_MODE_BOUNCE_ON_ACTION_FAIL);\n')),
  guard('the refund is whole', OPERATIONS, channel('SEND_MODE_PAY_FEES_SEPARATELY | SEND_MODE_BOUNCE', 'SEND_MODE_BOUNCE')),
  guard('gas has a bound', VALUE, channel('fun Redeem.fees(): coins { return feesOf(6600, 1) }', 'fun Redeem.fees(): coins { return feesOf(5700, 1) }')),
  guard('messages are paid for', VALUE, funds(' + messages * calculateForwardFee(BASECHAIN, 0, 0)', '')),
  guard('gas prices are the chain\'s', VALUE, funds('calculateGasFee(BASECHAIN, gas)', '400 * gas')),
  guard('message prices are the chain\'s', VALUE, funds('calculateForwardFee(BASECHAIN, 0, 0)', '66667')),
  guard('rent prices are the chain\'s', VALUE, funds('calculateStorageFee(BASECHAIN, RENT_RESERVE_SECONDS, bits, cells)', 'ton("0.004547352")')),
  guard('all that is stored is counted', VALUE, channel('const STORED_CELLS = 35', 'const STORED_CELLS = 34')),

  // What comes from outside.
  guard('junk is refused', PITFALLS, channel('        else => throw ERR_UNKNOWN_OP\n', '        else => {}\n')),
  guard('no external messages', PITFALLS,
    channel('import "@stdlib/reflection"', 'import "@stdlib/gas-payments"\nimport "@stdlib/reflection"'),
    channel('get fun rent_reserve', 'fun onExternalMessage(_: slice) {\n    acceptExternalMessage();\n}\n\nget fun rent_reserve')),
  guard('bounced messages are not obeyed', PITFALLS,
    channel('fun onInternalMessage(', '@on_bounced_policy("manual")\nfun onInternalMessage('),
    channel('fun onBouncedMessage(_: InMessageBounced) {\n}\n')),
  guard('a payout does not bounce', PITFALLS,
    channel('        bounce: BounceMode.NoBounce,\n        value: 0,\n        dest: receiver,', '        bounce: BounceMode.Only256BitsOfBody,\n        value: 0,\n        dest: receiver,')),
  guard('a refund does not bounce', PITFALLS,
    channel('        bounce: BounceMode.NoBounce,\n        value: amount,', '        bounce: BounceMode.Only256BitsOfBody,\n        value: amount,')),

  // Registry.
  guard('registry: owner only', REGISTRY_ACCESS, registry('    assert (sender == self.owner) throw ERR_NOT_OWNER;\n')),
  guard('registry: publisher only', REGISTRY_ACCESS, registry('            assert (in.senderAddress == st.publisher) throw ERR_NOT_PUBLISHER;\n')),
  guard('registry: the next epoch', EPOCHS, registry('            assert (msg.epoch == st.lastEpoch + 1) throw ERR_EPOCH;\n')),
  guard('registry: no policy before its time', REGISTRY, registry('            assert (blockchain.now() >= pending.activeAt) throw ERR_TOO_EARLY;\n')),
  guard('registry: 48 hours', REGISTRY, gone('registry_types.tolk', '48 * 3600', '47 * 3600')),
  guard('registry: policies only go up', REGISTRY, registry('            assert (msg.version > policy.version) throw ERR_VERSION;\n')),
  guard('registry: price tables only go up', REGISTRY, registry('            assert (msg.number > published.pricesNumber) throw ERR_VERSION;\n')),
  guard('registry: activated once', REGISTRY, registry('hash: pending.hash, pending: null }', 'hash: pending.hash, pending }')),
  guard('registry: cancelled for good', REGISTRY, registry('            policy.pending = null;\n')),
  guard('registry: the message pays', REGISTRY, funds(NO_BOUNDS)),
  guard('registry: all that is stored is counted', REGISTRY, registry('const STORED_CELLS = 65', 'const STORED_CELLS = 64')),
  guard('registry: the most mountains are paid for', REGISTRY, registry('const GAS_APPEND = 25000', 'const GAS_APPEND = 15000')),
  guard('registry: junk is refused', REGISTRY, registry('        else => throw ERR_UNKNOWN_OP\n', '        else => {}\n')),
  guard('registry: a leaf is no node', EPOCHS, gone('mountains.tolk', 'const LEAF = 2', 'const LEAF = 3')),
  guard('registry: a leaf has its epoch', EPOCHS, gone('mountains.tolk', 'storeUint(epoch, 32)', 'storeUint(0, 32)')),
  guard('registry: earlier epochs are left', EPOCHS, gone('mountains.tolk', 'nodeHash(peak.hash, hash)', 'nodeHash(hash, peak.hash)')),
];
