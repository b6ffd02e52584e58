"""Debian's Python client (python3-kubernetes, of Kubernetes 1.22) against a live cluster: KUBECONFIG=... python3 suite.py IMAGE EXAMPLE...

Prints "ok - NAME" or "not ok - NAME" with the reason. IMAGE has sh and cat (busybox); each EXAMPLE is a file that utils.create_from_yaml takes.
"""
import json
import logging
import sys
import threading
import time
import traceback

import yaml
from kubernetes import client, config, dynamic, stream, utils, watch
from kubernetes.client.rest import ApiException
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.configmaplock import ConfigMapLock

NAMESPACE = 'pythons'
image, examples = sys.argv[1], sys.argv[2:]
logging.disable(logging.CRITICAL)
config.load_kube_config()
api = client.ApiClient()
core, apps, custom = client.CoreV1Api(), client.AppsV1Api(), client.CustomObjectsApi()
failed = 0


def test(name):
    """A function that runs at once."""
    def run(fn):
        global failed
        try:
            fn()
            print(f'ok - python: {name}', flush=True)
        except Exception:
            failed += 1
            print(f'not ok - python: {name}')
            print('  ' + '\n  '.join(traceback.format_exc().splitlines()[-8:]), flush=True)
    return run


def equal(got, want):
    assert got == want, f'got {got!r}, want {want!r}'


# Times are given as for a machine that has little else to do; on a busy one it is waited for longer.
PATIENCE = 4


def until(fn, seconds=60):
    end = time.monotonic() + seconds * PATIENCE
    while True:
        try:
            got = fn()
            if got:
                return got
        except (ApiException, AssertionError):
            if time.monotonic() > end:
                raise
        assert time.monotonic() <= end, 'not within the time'
        time.sleep(0.1)


def fails(status, fn, *args, **kwargs):
    try:
        fn(*args, **kwargs)
    except (ApiException, dynamic.exceptions.DynamicApiError) as e:
        equal(e.status, status)
        return e
    raise AssertionError(f'it succeeded, and should have failed with {status}')


def config_map(name, **data):
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name, labels={'suite': 'python'}), data=data)


@test('a namespace with its account')
def _():
    core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=NAMESPACE)))
    until(lambda: core.read_namespaced_service_account('default', NAMESPACE))


@test('create, read, replace, patch, delete')
def _():
    made = core.create_namespaced_config_map(NAMESPACE, config_map('a', k='v'))
    fails(409, core.create_namespaced_config_map, NAMESPACE, config_map('a'))
    made.data = {'k': 'w'}
    equal(core.replace_namespaced_config_map('a', NAMESPACE, made).data, {'k': 'w'})
    fails(409, core.replace_namespaced_config_map, 'a', NAMESPACE, made)
    equal(core.patch_namespaced_config_map('a', NAMESPACE, {'data': {'l': 'x'}}).data, {'k': 'w', 'l': 'x'})
    equal(core.patch_namespaced_config_map('a', NAMESPACE, [{'op': 'remove', 'path': '/data/k'}]).data, {'l': 'x'})
    core.delete_namespaced_config_map('a', NAMESPACE)
    fails(404, core.read_namespaced_config_map, 'a', NAMESPACE)
    assert 'RFC 1123' in fails(422, core.create_namespaced_config_map, NAMESPACE, config_map('Not_a_name')).body


@test('pages, selectors, deletion of a collection')
def _():
    for i in range(7):
        core.create_namespaced_config_map(NAMESPACE, config_map(f'page-{i}', n=str(i)))
    names, more = [], None
    while True:
        page = core.list_namespaced_config_map(NAMESPACE, limit=3, _continue=more, label_selector='suite=python')
        names += [c.metadata.name for c in page.items]
        more = page.metadata._continue
        if not more:
            break
    equal(names, [f'page-{i}' for i in range(7)])
    one = core.list_namespaced_config_map(NAMESPACE, field_selector='metadata.name=page-3').items
    equal([c.data for c in one], [{'n': '3'}])
    core.delete_collection_namespaced_config_map(NAMESPACE, label_selector='suite=python')
    equal(core.list_namespaced_config_map(NAMESPACE, label_selector='suite=python').items, [])


@test('a watch from where the list ended')
def _():
    version = core.list_namespaced_config_map(NAMESPACE).metadata.resource_version
    core.create_namespaced_config_map(NAMESPACE, config_map('w', a='1'))
    core.patch_namespaced_config_map('w', NAMESPACE, {'data': {'a': '2'}})
    core.delete_namespaced_config_map('w', NAMESPACE)
    seen, w = [], watch.Watch()
    for event in w.stream(core.list_namespaced_config_map, NAMESPACE, resource_version=version, timeout_seconds=300):
        seen.append((event['type'], event['object'].data['a']))
        if event['type'] == 'DELETED':
            w.stop()
    equal(seen, [('ADDED', '1'), ('MODIFIED', '2'), ('DELETED', '2')])


@test('the dynamic client: discovery, server-side apply, conflicts')
def _():
    dyn = dynamic.DynamicClient(api)
    maps = dyn.resources.get(api_version='v1', kind='ConfigMap')
    body = {'apiVersion': 'v1', 'kind': 'ConfigMap', 'metadata': {'name': 'd'}, 'data': {'a': '1'}}
    # This client sends such a body as it is, or not at all.
    def apply(**how):
        return maps.server_side_apply(body=json.dumps(body), name='d', namespace=NAMESPACE, **how)

    equal(apply(field_manager='one').to_dict()['data'], {'a': '1'})
    body['data'] = {'a': '2', 'b': '2'}
    error = fails(409, apply, field_manager='two')
    assert b'conflict with \\"one\\"' in error.body, error.body
    forced = apply(field_manager='two', force_conflicts=True)
    equal(forced.to_dict()['data'], {'a': '2', 'b': '2'})
    equal(sorted((m.manager, m.operation) for m in forced.metadata.managedFields), [('two', 'Apply')])
    kinds = {r.kind for r in dyn.resources.search(group='apps')}
    assert {'Deployment', 'StatefulSet', 'DaemonSet', 'ReplicaSet'} <= kinds, kinds
    maps.delete(name='d', namespace=NAMESPACE)
    fails(404, maps.get, name='d', namespace=NAMESPACE)


@test('a custom resource')
def _():
    crd = {'metadata': {'name': 'snakes.python.example'},
           'spec': {'group': 'python.example', 'scope': 'Namespaced', 'names': {'plural': 'snakes', 'kind': 'Snake'},
                    'versions': [{'name': 'v1', 'served': True, 'storage': True, 'subresources': {'status': {}},
                                  'schema': {'openAPIV3Schema': {'type': 'object', 'properties': {
                                      'spec': {'type': 'object', 'properties': {'length': {'type': 'integer', 'minimum': 1}}},
                                      'status': {'type': 'object', 'x-kubernetes-preserve-unknown-fields': True}}}}}]}}
    client.ApiextensionsV1Api().create_custom_resource_definition({'apiVersion': 'apiextensions.k8s.io/v1',
                                                                  'kind': 'CustomResourceDefinition', **crd})
    at = ('python.example', 'v1', NAMESPACE, 'snakes')
    snake = {'apiVersion': 'python.example/v1', 'kind': 'Snake', 'metadata': {'name': 's'}, 'spec': {'length': 3}}
    until(lambda: custom.list_namespaced_custom_object(*at))
    custom.create_namespaced_custom_object(*at, snake)
    custom.patch_namespaced_custom_object_status(*at, 's', {'status': {'fed': True}})
    equal(custom.get_namespaced_custom_object(*at, 's')['status'], {'fed': True})
    snake['metadata']['name'], snake['spec']['length'] = 'short', 0
    assert 'should be greater than or equal to 1' in fails(422, custom.create_namespaced_custom_object, *at, snake).body
    client.ApiextensionsV1Api().delete_custom_resource_definition('snakes.python.example')


@test('leader election by its lock')
def _():
    core.create_namespaced_config_map(NAMESPACE, client.V1ConfigMap(metadata=client.V1ObjectMeta(name='other')))
    led = threading.Event()
    cfg = electionconfig.Config(ConfigMapLock('lock', NAMESPACE, 'me'), lease_duration=17, renew_deadline=15, retry_period=5,
                                onstarted_leading=led.set, onstopped_leading=None)
    threading.Thread(target=leaderelection.LeaderElection(cfg).run, daemon=True).start()
    assert led.wait(60 * PATIENCE)
    record = core.read_namespaced_config_map('lock', NAMESPACE).metadata.annotations['control-plane.alpha.kubernetes.io/leader']
    equal(yaml.safe_load(record)['holderIdentity'], 'me')


@test('examples by create_from_yaml, and their pods run')
def _():
    for path in examples:
        utils.create_from_yaml(api, path, namespace=NAMESPACE)
    for d in until(lambda: apps.list_namespaced_deployment(NAMESPACE).items):
        until(lambda: apps.read_namespaced_deployment_status(d.metadata.name, NAMESPACE).status.available_replicas == d.spec.replicas)


@test('a pod: its log, a command in it, a command that is spoken to')
def _():
    core.create_namespaced_pod(NAMESPACE, {'metadata': {'name': 'p'}, 'spec': {
        'terminationGracePeriodSeconds': 0,
        'containers': [{'name': 'c', 'image': image, 'command': ['sh', '-c', 'echo said; exec sleep 1000']}]}})
    until(lambda: core.read_namespaced_pod('p', NAMESPACE).status.phase == 'Running')
    until(lambda: core.read_namespaced_pod_log('p', NAMESPACE) == 'said\n')
    run = core.connect_get_namespaced_pod_exec
    # Switches that are off are sent as "False".
    equal(stream.stream(run, 'p', NAMESPACE, command=['sh', '-c', 'echo out; echo err >&2'], stdin=False, stdout=True, stderr=False,
                        tty=False), 'out\n')
    talk = stream.stream(run, 'p', NAMESPACE, command=['sh', '-c', 'read x; echo got $x; exit 3'], stdin=True, stdout=True,
                         stderr=True, tty=False, _preload_content=False)
    talk.write_stdin('this\n')
    talk.run_forever(timeout=60 * PATIENCE)
    equal((talk.read_stdout(), talk.returncode), ('got this\n', 3))


@test('scale, and the end of it all')
def _():
    for d in apps.list_namespaced_deployment(NAMESPACE).items:
        scaled = apps.patch_namespaced_deployment_scale(d.metadata.name, NAMESPACE, {'spec': {'replicas': 0}})
        equal(scaled.spec.replicas, 0)
    core.delete_namespace(NAMESPACE)
    until(lambda: NAMESPACE not in [n.metadata.name for n in core.list_namespace().items], 120)


sys.exit(1 if failed else 0)
