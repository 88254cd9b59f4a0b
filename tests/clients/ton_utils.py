"""tonutils, unmodified, against a local chain: another client, and cells and wallets of its own."""

import asyncio
import hashlib
import json
import os

import aiohttp
from ton_core import (
    Address,
    Cell,
    NetworkGlobalID,
    PrivateKey,
    StateInit,
    WalletV5Params,
    begin_cell,
    sign_message,
)
from tonutils.clients import ToncenterClient
from tonutils.contracts import TONTransferBuilder, WalletHighloadV3R1, WalletV5R1
from tonutils.exceptions import ProviderResponseError, RunGetMethodError

ORIGIN = os.environ["COCOON_DEVNET"]
CODE = Cell.one_from_boc(os.environ["COCOON_PAY_CHANNEL_CODE"])
NETWORK = NetworkGlobalID(int(os.environ["COCOON_GLOBAL_ID"]))

TON = 1_000_000_000
DEPOSIT = 0x50430101
REDEEM = 0x50430102
VOUCHER = 0x564F5543

# What the wallet has in the end: the faucet, three requests, what the channel paid.
TRANSACTIONS = 5
# More than one list of actions holds.
PAYEES = 300


def key_of(name):
    return PrivateKey(hashlib.sha256(name.encode()).digest())


async def eventually(what, condition):
    deadline = asyncio.get_running_loop().time() + 60
    while asyncio.get_running_loop().time() < deadline:
        if await condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"not within a minute: {what}")


async def main():
    async with aiohttp.ClientSession() as control, ToncenterClient(
        NETWORK, base_url=f"{ORIGIN}/api/v2", rps_limit=1000
    ) as client:
        await run(control, client)


async def fund(control, client, address, amount):
    gift = {"address": address.to_str(), "amount": str(amount)}
    async with control.post(f"{ORIGIN}/devnet/faucet", json=gift) as answer:
        assert answer.status == 200, await answer.text()

    async def there():
        return (await client.get_info(address)).balance >= amount

    await eventually("the faucet", there)


async def run(control, client):
    key = key_of("the wallet of tonutils")
    wallet = WalletV5R1.from_private_key(client, key)
    await wallet.refresh()
    assert wallet.is_nonexit and wallet.balance == 0, wallet.info
    await fund(control, client, wallet.address, 1000 * TON)

    seqno = 0

    async def has_run():
        # The wallet has no getter as long as it is not deployed.
        await wallet.refresh()
        return wallet.is_active and await wallet.seqno() == seqno

    # The wallet deploys itself with its first transfer.
    payee = WalletV5R1.from_private_key(client, key_of("a payee of tonutils")).address
    await wallet.transfer(payee, TON, body="hello", bounce=False)
    seqno += 1
    await eventually("the wallet", has_run)

    async def paid():
        return (await client.get_info(payee)).balance == TON

    await eventually("the payee", paid)

    # A channel, in which the wallet is both parties.
    terms = begin_cell().store_address(wallet.address).store_bytes(key.public_key.as_bytes)
    terms = terms.store_address(wallet.address).store_uint(86_400, 32).store_uint(8, 64).end_cell()
    data = begin_cell().store_uint(0, 2).store_coins(0).store_coins(0).store_uint(0, 32)
    data = data.store_ref(terms).end_cell()
    init = StateInit(code=CODE, data=data)
    channel = Address((0, init.serialize().hash))
    body = begin_cell().store_uint(DEPOSIT, 32).store_uint(42, 64).end_cell()
    await wallet.transfer(channel, 5 * TON, body=body, state_init=init)
    seqno += 1
    await eventually("the wallet", has_run)

    async def state():
        return await client.run_get_method(channel, "channel_state")

    async def opened():
        return (await client.get_info(channel)).state.value == "active"

    await eventually("the channel", opened)
    number, deposited, settled, _ = await state()
    assert number == 0 and deposited > 4 * TON and settled == 0, (number, deposited, settled)

    # What the channel says is signed is what we sign.
    amount = 2 * TON
    voucher = begin_cell().store_uint(VOUCHER, 32).store_int(NETWORK.value, 32).store_address(channel)
    signed = voucher.store_coins(amount).end_cell().hash
    assert await client.run_get_method(channel, "voucher_hash", [amount]) == [int.from_bytes(signed, "big")]
    signature = sign_message(signed, key.keypair.as_bytes)
    body = begin_cell().store_uint(REDEEM, 32).store_uint(42, 64).store_coins(amount).store_coins(amount)
    await wallet.transfer(channel, TON, body=body.store_bytes(signature).end_cell())
    seqno += 1
    await eventually("the wallet", has_run)

    async def redeemed():
        return (await state())[2] == amount

    await eventually("the redeemed", redeemed)
    try:
        await client.run_get_method(channel, "no_such_method")
        raise AssertionError("a method that is not there")
    except RunGetMethodError as error:
        assert error.exit_code == 11, error

    # Many payments at once, from a wallet that says by a dictionary what it has run.
    many = WalletHighloadV3R1.from_private_key(client, key_of("the treasury of tonutils"))
    await fund(control, client, many.address, 100 * TON)
    payees = [Address((0, hashlib.sha256(str(number).encode()).digest())) for number in range(PAYEES)]
    await many.batch_transfer_message([TONTransferBuilder(to, TON // 100, bounce=False) for to in payees])

    async def all_paid():
        balances = [(await client.get_info(to)).balance for to in (payees[0], payees[-1])]
        return balances == [TON // 100] * 2

    await eventually("the payees", all_paid)

    # tonutils asks page by page, beginning with the newest.
    async def everything():
        return len(await client.get_transactions(wallet.address)) == TRANSACTIONS

    await eventually("the payment", everything)
    transactions = await client.get_transactions(wallet.address)
    for newer, older in zip(transactions, transactions[1:]):
        assert newer.prev_trans_lt == older.lt and newer.prev_trans_hash == older.cell.hash, newer
    assert transactions[-1].prev_trans_lt == 0
    newest, second = transactions[:2]
    assert [one.lt for one in await client.get_transactions(wallet.address, limit=1)] == [newest.lt]
    assert [one.lt for one in await client.get_transactions(wallet.address, to_lt=second.lt)] == [newest.lt]
    await wallet.refresh()
    assert wallet.last_transaction_lt == newest.lt and wallet.last_transaction_hash == newest.cell.hash.hex()
    highload = await client.get_transactions(many.address)

    # The configuration: what a message costs.
    config = await client.get_config()
    assert 25 in config and 21 in config, sorted(config)

    # One that is refused: its number is one that was.
    balance = wallet.balance
    try:
        await wallet.transfer(payee, 1, params=WalletV5Params(seqno=seqno - 1))
        raise AssertionError("a request that has been run")
    except ProviderResponseError as error:
        refused = error.message
    await wallet.refresh()
    assert await wallet.seqno() == seqno and wallet.balance == balance
    print(json.dumps({"transactions": len(transactions), "highload": len(highload), "refused": refused}))


asyncio.run(main())
